/* The machine as JSON; what is not known is null. */
#include "lib/environment/environment.h"

static void put_text(struct xk_json *j, const char *key, const char *text)
{
    xk_json_str(j, key, text[0] != '\0' ? text : NULL);
}

static void put_known(struct xk_json *j, const char *key, uint64_t v)
{
    if (v > 0)
        xk_json_u64(j, key, v);
    else
        xk_json_null(j, key);
}

static void put_small(struct xk_json *j, const char *key, int v)
{
    if (v >= 0)
        xk_json_i64(j, key, v);
    else
        xk_json_null(j, key);
}

static void put_switch(struct xk_json *j, const char *key, enum environment_switch v)
{
    if (v == ENVIRONMENT_UNKNOWN)
        xk_json_null(j, key);
    else
        xk_json_bool(j, key, v == ENVIRONMENT_ON);
}

static void put_nodes(struct xk_json *j, const struct environment *e)
{
    xk_json_array(j, "nodes");
    for (unsigned i = 0; i < e->nodes_described; i++) {
        const struct environment_node *node = &e->nodes[i];
        xk_json_object(j, NULL);
        xk_json_u64(j, "number", node->number);
        put_text(j, "cpus", node->cpus);
        put_known(j, "memory_bytes", node->memory_bytes);
        put_known(j, "memory_free_bytes", node->memory_free_bytes);
        xk_json_end(j);
    }
    xk_json_end(j);
}

static void put_memory(struct xk_json *j, const struct environment *e)
{
    xk_json_object(j, "memory");
    put_known(j, "total_bytes", e->memory.total_bytes);
    if (e->memory.known) {
        xk_json_u64(j, "available_bytes", e->memory.available_bytes);
        xk_json_u64(j, "swap_total_bytes", e->memory.swap_total_bytes);
        xk_json_u64(j, "swap_free_bytes", e->memory.swap_free_bytes);
    } else {
        xk_json_null(j, "available_bytes");
        xk_json_null(j, "swap_total_bytes");
        xk_json_null(j, "swap_free_bytes");
    }
    put_text(j, "huge_pages", e->memory.huge_pages);
    xk_json_end(j);
}

void environment_file_system_json(struct xk_json *j, const char *key, const struct environment_file_system *f)
{
    xk_json_object(j, key);
    xk_json_str(j, "path", f->path);
    put_text(j, "point", f->point);
    put_text(j, "type", f->type);
    put_text(j, "source", f->source);
    put_text(j, "options", f->options);
    xk_json_u64(j, "magic", f->magic);
    xk_json_u64(j, "size_bytes", f->size_bytes);
    xk_json_u64(j, "free_bytes", f->free_bytes);
    xk_json_u64(j, "available_bytes", f->available_bytes);
    xk_json_u64(j, "block_bytes", f->block_bytes);
    xk_json_u64(j, "inodes", f->inodes);
    xk_json_u64(j, "inodes_free", f->inodes_free);
    xk_json_end(j);
}

void environment_json(struct xk_json *j, const char *key, const struct environment *e,
                      const struct environment_file_system *file_system)
{
    xk_json_object(j, key);
    xk_json_str(j, "xenkit_version", XK_VERSION);
    put_text(j, "host", e->host);

    xk_json_object(j, "cpu");
    put_text(j, "model", e->cpu.model);
    put_text(j, "vendor", e->cpu.vendor);
    put_text(j, "architecture", e->cpu.architecture);
    put_small(j, "family", e->cpu.family);
    put_small(j, "model_number", e->cpu.model_number);
    put_small(j, "stepping", e->cpu.stepping);
    put_text(j, "microcode", e->cpu.microcode);
    put_known(j, "sockets", e->cpu.sockets);
    put_known(j, "cores", e->cpu.cores);
    put_known(j, "threads", e->cpu.threads);
    put_switch(j, "smt", e->cpu.smt);
    xk_json_end(j);

    put_nodes(j, e);
    put_memory(j, e);

    xk_json_object(j, "kernel");
    put_text(j, "release", e->kernel.release);
    put_text(j, "version", e->kernel.version);
    put_text(j, "clocksource", e->kernel.clocksource);
    put_text(j, "parameters", e->kernel.parameters);
    xk_json_end(j);

    xk_json_object(j, "virtualisation");
    put_text(j, "hypervisor", e->virtualisation.hypervisor);
    xk_json_str(j, "xen", environment_xen_name(e->virtualisation.xen));
    put_text(j, "xen_version", e->virtualisation.xen_version);
    put_text(j, "guest_type", e->virtualisation.guest_type);
    put_text(j, "vendor", e->virtualisation.vendor);
    put_text(j, "product", e->virtualisation.product);
    put_text(j, "container", e->virtualisation.container);
    const struct environment_ticks boot = {0};
    xk_json_double(j, "steal_percent", environment_steal_percent(&boot, &e->ticks));
    xk_json_end(j);

    xk_json_object(j, "frequency");
    put_text(j, "governor", e->frequency.governor);
    put_text(j, "driver", e->frequency.driver);
    put_text(j, "idle_driver", e->frequency.idle_driver);
    put_switch(j, "turbo", e->frequency.turbo);
    put_known(j, "min_hz", e->frequency.min_hz);
    put_known(j, "max_hz", e->frequency.max_hz);
    xk_json_end(j);

    xk_json_object(j, "distribution");
    put_text(j, "name", e->distribution.name);
    put_text(j, "id", e->distribution.id);
    put_text(j, "version", e->distribution.version);
    put_text(j, "product", e->distribution.product);
    xk_json_end(j);

    put_known(j, "uptime_ns", e->uptime_ns);
    if (file_system)
        environment_file_system_json(j, "file_system", file_system);
    else
        xk_json_null(j, "file_system");
    xk_json_end(j);
}
