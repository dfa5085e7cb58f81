/*
 * Faults that are wished for: calls that fail, replies that do not come, hosts that are dead, clients that leak.
 *
 * A fault is a line of text, KEY=VALUE and single words with commas between them: from the command line, or given to a
 * running pool by host.call_plugin. fault-text.c reads it and refuses by name what is unknown or does not go together;
 * fault.c lets it begin and end; fault-strike.c is what happens to calls and requests, fault-state.c what happens to
 * the pool itself.
 */
#ifndef LIB_SIMPOOL_FAULT_H
#define LIB_SIMPOOL_FAULT_H

#include "lib/simpool/inner.h"

#define SIM_FAULTS_MAX         64
#define SIM_FAULT_BYTES_MAX    512
#define SIM_FAULT_WORD         128
#define SIM_FAULT_SAVED_MAX    64
#define SIM_FAULT_NOTICED_S    600 /* a host that is silent for so long is taken for dead */
#define SIM_FAULT_RATE_MAX     1000.0
#define SIM_FAULT_STUCK_AGE_S  72000
#define SIM_FAULT_DAYS_MAX     3660 /* of a skew and of waiting times */
#define SIM_FAULT_ERROR_PARAMS 16

enum sim_fault_kind {
    SIM_FAULT_CALL, /* what a call or a request meets */
    SIM_FAULT_HOST, /* dead, hung, skew, version, certificate, cpu */
    SIM_FAULT_TASK,
    SIM_FAULT_CLIENT,
    SIM_FAULT_MASTER,
    SIM_FAULT_STORAGE,
    SIM_FAULT_VM,
};

/* The one thing that ends an exchange in another way than by its reply. */
enum sim_cut { SIM_CUT_NONE, SIM_CUT_DROP, SIM_CUT_RESET, SIM_CUT_HTTP };

/* What one call meets, from all faults together. */
struct sim_strike {
    uint64_t delay_ns; /* simulated */
    enum sim_cut cut;
    unsigned http;
    bool executed; /* the call is carried out all the same */
    bool wrong_type;
    struct http_spoil spoil;
    char error[SIM_FAULT_BYTES_MAX]; /* CODE;parameter;parameter; "": none */
};

/* Something that was changed, and is changed back when the fault ends. */
struct sim_saved {
    char ref[SIM_REF_BYTES];
    unsigned place;
    struct xapi_packed *value;
};

struct sim_fault {
    char text[SIM_FAULT_BYTES_MAX];
    enum sim_fault_kind kind;
    uint64_t keys; /* which were given */
    /* whom it meets */
    char method[SIM_FAULT_WORD], path[SIM_FAULT_WORD];
    uint64_t host; /* from 1; 0: any */
    uint64_t nth, every;
    double probability;
    uint64_t after_ns, for_ns; /* simulated */
    /* what happens */
    char error[SIM_FAULT_BYTES_MAX];
    uint64_t delay_ns, truncate, http, slow_b_s;
    bool drop, reset, wrong_type, executed, has_truncate;
    bool dead, hung, full;
    int64_t skew_ns;
    char version[SIM_FAULT_WORD], certificate[SIM_FAULT_WORD];
    char task[SIM_FAULT_WORD], client[SIM_FAULT_WORD];
    double rate;
    char originator[SIM_FAULT_WORD], agent[SIM_FAULT_WORD];
    uint64_t master;
    char storage[SIM_FAULT_WORD], vm[SIM_FAULT_WORD];
    double cpu;          /* at least that share of all processors is busy */
    uint64_t latency_ns; /* longer for each request */
    bool no_tools;
    /* its life */
    struct simpool *pool;
    struct sim_fault *next;
    unsigned id;
    bool begun, at_start;
    uint64_t met, struck, began_ns;
    int64_t began_s;     /* simulated; INT64_MIN: it has always been so */
    struct event *timer; /* begins it, then ends it */
    struct event *tick;  /* of a client, or until a dead host is noticed */
    struct sim_saved saved[SIM_FAULT_SAVED_MAX];
    unsigned saved_count;
    char task_ref[SIM_REF_BYTES];
    struct http_identity *identity;
};

/* ---- fault-text.c ---- */

/* returns   0; -EINVAL with a sentence that names the word. `ret` is zeroed and filled, its life has not begun. */
int sim_fault_parse(struct sim_fault *ret, const char *text, struct xk_err *err);

/* ---- fault.c ---- */

/* Those of the settings, at the start. */
int sim_faults_open(struct simpool *p, struct xk_err *err);
void sim_faults_close(struct simpool *p);
/* returns   0; -EINVAL: no such fault, or it cannot be here (why is said); -ENOSPC; -ENOMEM. */
int sim_fault_add(struct simpool *p, const char *text, bool at_start, unsigned *ret_id, struct xk_err *err);
/* End one, or all of them with id 0. returns how many; the first error is one of putting things back. */
int sim_fault_heal(struct simpool *p, unsigned id, struct xk_err *err);
/* A line for each: its number, its text, how often it was met and struck. */
void sim_fault_list(const struct simpool *p, struct xk_buf *b);
bool sim_glob(const char *pattern, const char *text);

/* ---- fault-strike.c ---- */

/* The faults that a call meets. NULL: none. */
struct sim_strike *sim_strike_call(struct sim_call *c);
/* Those that a request meets by its path. returns whether it was taken away: it ends without its handler, or later. */
bool sim_strike_request(struct simpool *p, struct http_exchange *x, void (*go_on)(void *pool, struct http_exchange *x));
/* End an exchange as the strike says. */
void sim_strike_cut(const struct sim_strike *s, struct http_exchange *x);
/* The error that a strike has for a call; SIM_DONE: none. */
enum sim_outcome sim_strike_error(struct sim_call *c);
/* A value that has another type than the one that was due. */
struct xapi_value sim_strike_wrong(const struct xapi_value *v);
/* Whether the call's work does not get on. */
bool sim_fault_stuck(const struct simpool *p, const struct sim_call *c);

/* ---- fault-state.c ---- */

/* returns   -EINVAL when it cannot be in this pool. */
int sim_state_fault_check(const struct simpool *p, const struct sim_fault *f, struct xk_err *err);
int sim_state_fault_begin(struct sim_fault *f, struct xk_err *err);
int sim_state_fault_end(struct sim_fault *f, struct xk_err *err);
/* Whether a call has to fail because of the state that it finds: its error is recorded. */
enum sim_outcome sim_state_fault_meet(struct sim_call *c);

/* What metrics of a time have of it: how busy a host (a number) is besides, how much longer a request at a storage
 * takes. */
double sim_fault_cpu(const struct simpool *p, unsigned host, int64_t from_s, int64_t to_s);
double sim_fault_latency_s(const struct simpool *p, const struct sim_object *sr, int64_t from_s, int64_t to_s);

extern const struct sim_row sim_fault_rows[];

#endif
