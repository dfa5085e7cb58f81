/*
 * pair: runs two commands in turn and says how they compare.
 *
 *     pair [-n ROUNDS] [-w WARM-UPS] [-x LIMIT] OUR-NAME COMMAND… -- THEIR-NAME COMMAND…
 *
 * Each round runs both, the first one changing from round to round, so that whatever else the machine does falls on
 * both alike. Output of the commands is thrown away; one that fails ends the bench. Prints for each the median of the
 * wall time with its quartiles, the median of the processor time (its children's included) and the largest memory of
 * one process; then the ratio of the medians, ours to theirs, with its 95 % interval (bootstrap over the rounds).
 * Exit status 1: the ratio is above LIMIT.
 *
 * The alternative, all rounds of one and then all of the other, is what most timing tools do; on a machine with a
 * changing load it measures the load.
 */
#include "core/base.h"
#include "core/clock.h"
#include "core/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define ROUNDS_MAX       100000U
#define BOOTSTRAP_ROUNDS 1000U

struct side {
    const char *name;
    char **argv;
    double *wall_ms;
    double *cpu_ms;
    long memory_kib_max;
};

static void usage(void)
{
    fputs("usage: pair [-n ROUNDS] [-w WARM-UPS] [-x LIMIT] OUR-NAME COMMAND... -- THEIR-NAME COMMAND...\n", stderr);
    exit(2);
}

static double ms_of(struct timeval t)
{
    return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

/* posix_spawn and not fork: the cost of copying this process's tables would be added to both. */
static void run_once(struct side *side, const posix_spawn_file_actions_t *actions, unsigned round, bool counts)
{
    const struct xk_clock *clock = xk_clock_system();
    pid_t pid;
    uint64_t start_ns = clock->monotonic_ns(clock);
    int error = posix_spawnp(&pid, side->argv[0], actions, NULL, side->argv, environ);
    if (error != 0) {
        fprintf(stderr, "pair: cannot run %s: %s\n", side->argv[0], strerror(error));
        exit(3);
    }
    int status;
    struct rusage usage;
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR) {
            perror("pair: wait4");
            exit(6);
        }
    uint64_t end_ns = clock->monotonic_ns(clock);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "pair: %s failed with wait status %#x, nothing to compare\n", side->name, (unsigned)status);
        exit(4);
    }
    if (!counts)
        return;
    side->wall_ms[round] = (double)(end_ns - start_ns) / (double)XK_NS_PER_MS;
    side->cpu_ms[round] = ms_of(usage.ru_utime) + ms_of(usage.ru_stime);
    side->memory_kib_max = XK_MAX(side->memory_kib_max, usage.ru_maxrss);
}

/* Sorts the samples; returns the median wall time. */
static double describe(struct side *side, unsigned rounds)
{
    xk_sort_doubles(side->wall_ms, rounds);
    xk_sort_doubles(side->cpu_ms, rounds);
    double median_ms = xk_median_sorted(side->wall_ms, rounds);
    printf("%-40s %12.3f ms  (%.3f - %.3f)  %12.3f ms  %8.1f MiB\n", side->name, median_ms,
           xk_percentile_sorted(side->wall_ms, rounds, 0.25), xk_percentile_sorted(side->wall_ms, rounds, 0.75),
           xk_median_sorted(side->cpu_ms, rounds), (double)side->memory_kib_max / 1024);
    return median_ms;
}

static void *samples(unsigned rounds)
{
    void *memory = xk_array_alloc(rounds, sizeof(double));
    if (memory == NULL) {
        fputs("pair: out of memory\n", stderr);
        exit(6);
    }
    return memory;
}

/* Rounds are drawn whole, both sides together, since that is how the load fell on them. */
static struct xk_interval bootstrap_ratio(const double *ours, const double *theirs, unsigned rounds)
{
    struct xk_random random;
    xk_random_seed(&random, rounds);
    double *a = samples(rounds);
    double *b = samples(rounds);
    double *ratios = samples(BOOTSTRAP_ROUNDS);
    for (unsigned i = 0; i < BOOTSTRAP_ROUNDS; i++) {
        for (unsigned k = 0; k < rounds; k++) {
            uint64_t drawn = xk_random_below(&random, rounds);
            a[k] = ours[drawn];
            b[k] = theirs[drawn];
        }
        xk_sort_doubles(a, rounds);
        xk_sort_doubles(b, rounds);
        ratios[i] = xk_median_sorted(a, rounds) / xk_median_sorted(b, rounds);
    }
    xk_sort_doubles(ratios, BOOTSTRAP_ROUNDS);
    struct xk_interval interval = {.low = xk_percentile_sorted(ratios, BOOTSTRAP_ROUNDS, 0.025),
                                   .high = xk_percentile_sorted(ratios, BOOTSTRAP_ROUNDS, 0.975)};
    free(a);
    free(b);
    free(ratios);
    return interval;
}

static unsigned number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || n > ROUNDS_MAX)
        usage();
    return (unsigned)n;
}

int main(int argc, char **argv)
{
    unsigned rounds = 20;
    unsigned warm_ups = 1;
    double limit = 0;
    int letter;
    while ((letter = getopt(argc, argv, "+n:w:x:")) != -1) {
        switch (letter) {
        case 'n':
            rounds = number(optarg);
            break;
        case 'w':
            warm_ups = number(optarg);
            break;
        case 'x':
            limit = strtod(optarg, NULL);
            if (!(limit > 0))
                usage();
            break;
        default:
            usage();
        }
    }
    int middle = optind;
    while (middle < argc && strcmp(argv[middle], "--") != 0)
        middle++;
    if (rounds == 0 || middle - optind < 2 || argc - middle < 3)
        usage();
    argv[middle] = NULL;

    struct side ours = {.name = argv[optind], .argv = &argv[optind + 1]};
    struct side theirs = {.name = argv[middle + 1], .argv = &argv[middle + 2]};
    ours.wall_ms = samples(rounds);
    ours.cpu_ms = samples(rounds);
    theirs.wall_ms = samples(rounds);
    theirs.cpu_ms = samples(rounds);

    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) != 0 ||
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) != 0) {
        fputs("pair: out of memory\n", stderr);
        return 6;
    }
    for (unsigned i = 0; i < warm_ups; i++) {
        run_once(&ours, &actions, 0, false);
        run_once(&theirs, &actions, 0, false);
    }
    for (unsigned i = 0; i < rounds; i++) {
        run_once(i % 2 == 0 ? &ours : &theirs, &actions, i, true);
        run_once(i % 2 == 0 ? &theirs : &ours, &actions, i, true);
    }
    posix_spawn_file_actions_destroy(&actions);

    struct xk_interval interval = bootstrap_ratio(ours.wall_ms, theirs.wall_ms, rounds);
    printf("%-40s %15s  %s  %16s  %12s\n", "", "median", "(quartiles)", "processor", "memory");
    double ours_ms = describe(&ours, rounds);
    double theirs_ms = describe(&theirs, rounds);
    double ratio = ours_ms / theirs_ms;
    printf("ratio %.4f (%.4f - %.4f in 95 %%, %u rounds): %.2f times %s\n", ratio, interval.low, interval.high, rounds,
           ratio < 1 ? 1 / ratio : ratio, ratio < 1 ? "faster" : "slower");
    free(ours.wall_ms);
    free(ours.cpu_ms);
    free(theirs.wall_ms);
    free(theirs.cpu_ms);
    if (limit > 0) {
        printf("%s: at most %.4f was asked for\n", ratio <= limit ? "met" : "MISSED", limit);
        return ratio <= limit ? 0 : 1;
    }
    return 0;
}
