/* What the files of the simulated pool share; the outside is simpool.h. */
#ifndef LIB_SIMPOOL_INNER_H
#define LIB_SIMPOOL_INNER_H

#include "lib/http/server.h"
#include "lib/simpool/simpool.h"
#include "lib/xapi/wire.h"

#define SIM_BODY_BYTES_MAX  (300u << 10) /* of a request, as the real server */
#define SIM_CLI_BYTES_MAX   (200u << 10) /* of a command, likewise */
#define SIM_CALL_BYTES_MAX  (48u << 20)  /* memory of one call: its request decoded and its result */
#define SIM_REPLY_BYTES_MAX (512u << 20)
#define SIM_DELETED_MAX     16384 /* objects gone that event.from still tells of */
#define SIM_REF_BYTES       48
#define SIM_NULL            "OpaqueRef:NULL"

/* ---- database ---- */

struct sim_object {
    const struct xapi_class *class_row;
    char ref[SIM_REF_BYTES];
    struct xapi_packed **fields;                /* class_row->fields of them, never NULL */
    uint64_t created, modified;                 /* generations */
    struct sim_object *newer, *older;           /* all objects, by modification */
    struct sim_object *class_next, *class_prev; /* its class, by creation */
    struct sim_object *ref_next, *uuid_next;    /* buckets */
    struct sim_session *session;                /* of a session's object */
    struct sim_history *history;                /* of a VM that ever ran: when and where */
    struct sim_disk *disk;                      /* of a VDI: what was written to it; see disk.h */
    char *xml, *json;                           /* its record, encoded; NULL: has to be made again */
    size_t xml_bytes, json_bytes;
};

struct sim_deleted {
    const struct xapi_class *class_row;
    char ref[SIM_REF_BYTES];
    uint64_t created, deleted;
};

struct sim_class {
    struct sim_object *first, *last;
    uint32_t count;
    struct xapi_packed **defaults; /* one for each field */
};

/* ---- sessions ---- */

struct sim_session {
    struct sim_object *object; /* NULL for a host's local session, which the database does not have */
    char ref[SIM_REF_BYTES];
    char *group; /* whose limit it counts for */
    unsigned host;
    bool local, pool, superuser; /* pool: of a host with the master */
    unsigned roles;              /* of who is no superuser */
    uint64_t order;              /* of creation */
    int64_t last_active_s;
    struct sim_session *next, **link;
    /* event.next */
    uint8_t *wanted;                   /* a flag for each class; NULL: not registered */
    struct xapi_packed *subscriptions; /* as the client said them */
    uint64_t registered, queued_bytes; /* generation up to which was told, and the pool's count then */
};

/* ---- calls ---- */

struct sim_call;

enum sim_outcome { SIM_DONE, SIM_FAILED, SIM_WORKING };

typedef enum sim_outcome sim_behaviour(struct sim_call *c);

/* A call from its request to its reply; with work to do it outlives a reply that was only a task. */
struct sim_call {
    struct simpool *pool;
    struct http_exchange *exchange; /* NULL: answered, or the client is gone */
    struct xk_arena arena;
    struct xapi_call wire;
    unsigned host;               /* which one was asked */
    struct sim_session *session; /* only while the behaviour runs; may have ended later */
    char session_ref[SIM_REF_BYTES];
    const struct xapi_message *message;
    struct xapi_value *args;  /* message->params of them, defaults filled in */
    size_t arg_count;         /* given */
    struct xapi_value result; /* of SIM_DONE */
    struct xapi_value error;  /* of SIM_FAILED: a list of texts */
    bool bare;
    struct sim_strike *strike;    /* the faults that it met; NULL: none */
    bool delayed;                 /* it has not begun yet */
    const char *agent;            /* of a call from inside, for the log */
    char task_ref[SIM_REF_BYTES]; /* of an Async call, or of one with work to do; else "" */
    bool passing;                 /* the task goes with the call */
    char log_client[INET6_ADDRSTRLEN];
    char log_task[96]; /* what the log calls it; "": it has written nothing yet */
    /* Work that takes time. */
    struct event *timer;
    sim_behaviour *finish;
    uint64_t started_ns, work_ns; /* simulated */
    bool cancellable, cancelled;
    double seen_progress;        /* of its task, when the collector last looked */
    char subject[SIM_REF_BYTES]; /* whose current_operations name it */
    char operation_ref[SIM_REF_BYTES];
    const char *operation;
    char beside[SIM_REF_BYTES]; /* a second one, that has another operation */
    const char *operation_beside;
    struct sim_call *next, **link; /* of pool->working or pool->waiting */
    const char *audited;           /* its arguments for the audit log, when they have to be told before; else NULL */
    bool denied;                   /* the audit log knows already */
    struct sim_leaving *leaving;   /* a machine whose disks go to another pool */
    struct evp_md_ctx_st *digest;  /* of a disk that is being read */
    uint64_t digested;             /* bytes of it */
    struct sim_joining *joining;   /* this host joins another pool */
    struct sim_peer *peer;         /* it waits for another pool; NULL: for none */
    /* A blocked event.from. */
    uint64_t token;
    uint8_t *wanted;             /* a flag for each class */
    struct sim_session *next_of; /* event.next: of that session */
};

/* A host as a machine: hosts.h. */
struct sim_member {
    struct simpool *pool;
    unsigned number, follows;                   /* itself: it is a master */
    bool silent;                                /* by a fault */
    bool down, booting;                         /* booting: all of it, not only its agent */
    bool stay_disabled, enable_at_start, armed; /* armed: for high availability */
    int64_t down_s;
    struct event *timer;
    char proposed[64]; /* address of a new master that it agreed to */
    struct xk_buf dmesg;
};

#define SIM_ROUTES_MAX 64

/* Requests that a route has had, and how many of them were their connection's last. */
struct sim_served {
    uint64_t requests, closed;
};

struct simpool {
    struct simpool_settings settings, asked; /* asked: as they were before a state was read */
    struct event_base *base;
    struct http_server *server;
    struct resolve_address addresses[SIMPOOL_HOSTS_MAX];
    struct http_identity *identities[SIMPOOL_HOSTS_MAX]; /* all NULL without TLS */
    char host_refs[SIMPOOL_HOSTS_MAX][SIM_REF_BYTES];
    unsigned master; /* number of the host */
    struct sim_member members[SIMPOOL_HOSTS_MAX];
    char *user, *password;
    uint64_t started_ns;
    int64_t started_utc_ns;
    int error;                         /* sticky: memory ran out while something was changed */
    struct xk_buf notes;               /* lines that whoever started the pool should read */
    struct sim_state *state;           /* the file that keeps the database; NULL: none */
    int64_t saved_s;                   /* simulated time when that file was last written */
    struct http_identity *retired[16]; /* that connections may still use */
    unsigned retired_count;
    struct sim_audit *audit;       /* who called what */
    struct sim_kept *kept;         /* files of the hosts; see keep.h */
    struct stop *stops;            /* hosts that will stop soon */
    struct sim_peer *peers;        /* requests to other pools */
    struct sim_fetch *fetches;     /* what is fetched from URLs */
    bool joining, reborn;          /* it is about to join another pool; it was ejected from that */
    struct sim_joined *joined;     /* it belongs to another pool; NULL: it does not */
    struct sim_joiner *joiners;    /* hosts that joined this one */
    struct sim_restarts *restarts; /* machines that HA starts anew; NULL: none ever */
    int64_t ha_quiet_until_s;      /* until then no VM is started for a host that failed */
    /* database */
    struct sim_class *classes; /* xapi_class_count of them */
    struct sim_object **by_ref, **by_uuid;
    uint32_t buckets, objects;
    bool bulk; /* the many ends of relations are written later, all at once */
    struct sim_object *newest;
    uint64_t generation;
    struct sim_deleted *deleted; /* ring */
    uint64_t deleted_count;
    /* sessions */
    struct sim_session *sessions;
    uint64_t session_order;
    unsigned local_sessions;
    int64_t revalidated_s;           /* when subjects were last looked for */
    char secret[128];                /* that the hosts share; "": nobody asked for it yet */
    char secret_other[128];          /* that is taken as well while the secret changes; "": none */
    struct sim_directory *directory; /* NULL: there is none */
    struct event *gc_timer;
    struct http_server *local_server; /* of the host's own programs; NULL: none */
    struct evconnlistener *local_listener;
    struct sim_log *log; /* NULL: none */
    /* faults */
    struct sim_fault *faults;
    unsigned fault_ids;
    struct xk_random fault_random;
    int64_t skew_ns[SIMPOOL_HOSTS_MAX];
    /* metrics */
    bool histories; /* what VMs do is remembered */
    const struct xapi_class *vm_class;
    unsigned vm_places[2]; /* of power_state and resident_on */
    struct sim_mark *marks;
    size_t mark_count;
    /* calls */
    struct sim_call *working, *waiting, *delayed;
    struct sim_transfer *transfers; /* see transfer.h */
    unsigned registered;            /* sessions with a position for event.next */
    uint64_t heartbeat;             /* generation of the last one */
    uint64_t weighed;               /* generation up to which queued_bytes counts */
    uint64_t queued_bytes;          /* all that the real server would ever have queued */
    struct sim_blob *blobs;         /* the bytes of blobs; see blob.c */
    /* what disks hold */
    char *disk_folder; /* NULL: they are in memory */
    uint64_t disk_bytes;
    struct xk_buf disks_gone;    /* their uuids, a line for each */
    struct sim_allowed *allowed; /* lists of allowed operations that objects share; see ops.c */
    /* commands of xe */
    struct sim_cli *clis;
    unsigned cli_running;
    int cli_wake[2]; /* a pipe: a thread has ended */
    struct event *cli_event;
    bool cli_closed;
    struct sim_served served[SIM_ROUTES_MAX];
    struct sim_agents *agents;  /* that logged in; NULL: nobody */
    unsigned compactions;       /* of the heap, that somebody asked for */
    struct event *wake;         /* those that wait for events look again */
    sim_behaviour **behaviours; /* by message; NULL: the table's own way */
};

/* ---- db.c ---- */

int sim_db_open(struct simpool *p, struct xk_err *err);
void sim_db_close(struct simpool *p);
/* A new object with its defaults and a uuid. NULL: no memory (and p->error). */
struct sim_object *sim_create(struct simpool *p, const char *class_name);
void sim_delete(struct simpool *p, struct sim_object *o);
/* The same without relations and events: as if it had never been. */
void sim_forget(struct simpool *p, struct sim_object *o);
/*
 * An object that was saved, in place of the one with that ref if there is one (which has to be of the same class).
 *
 * ref       shorter than SIM_REF_BYTES.
 * fields    for each of the class: its value, of the field's shape, or NULL for the default; users are added.
 * returns   0; -ENOMEM. After the last one sim_restore_end() brings all into the order of their generations.
 */
int sim_restore(struct simpool *p, const struct xapi_class *class_row, const char *ref,
                struct xapi_packed *const *fields, uint64_t created, uint64_t modified);
int sim_restore_end(struct simpool *p);
/*
 * xapi_cast() for what was made elsewhere: an enum may have a word that only another release knows.
 * returns   0; 1: it has; -EINVAL; -ENOMEM.
 */
int sim_fit(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, const struct xapi_value *v);
/* An object of a class. NULL: there is none. */
struct sim_object *sim_find(const struct simpool *p, const char *ref, const struct xapi_class *class_row);
struct sim_object *sim_find_uuid(const struct simpool *p, const char *uuid, const struct xapi_class *class_row);
struct sim_object *sim_first(const struct simpool *p, const char *class_name);
/* A field that the class is known to have. */
const struct xapi_value *sim_get(const struct sim_object *o, const char *field);
const char *sim_text(const struct sim_object *o, const char *field);
int64_t sim_int(const struct sim_object *o, const char *field);
bool sim_bool(const struct sim_object *o, const char *field);
/* Seconds since 1970. */
int64_t sim_time(const struct sim_object *o, const char *field);
/* The object that a ref field names. */
struct sim_object *sim_follow(const struct simpool *p, const struct sim_object *o, const char *field);
/* Change a field: the other end of a relation follows, events learn of it. An equal value changes nothing. */
void sim_put_at(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v);
/* The same without the other end. */
void sim_put_alone(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v);
void sim_put(struct simpool *p, struct sim_object *o, const char *field, struct xapi_value v);
/* The same for a value that others share; the field is no relation. */
void sim_put_packed(struct simpool *p, struct sim_object *o, unsigned place, struct xapi_packed *v);
/* Another uuid for an object; the caller has seen that it is free. */
void sim_put_uuid(struct simpool *p, struct sim_object *o, const char *uuid);
void sim_put_text(struct simpool *p, struct sim_object *o, const char *field, const char *text);
void sim_put_int(struct simpool *p, struct sim_object *o, const char *field, int64_t v);
void sim_put_bool(struct simpool *p, struct sim_object *o, const char *field, bool v);
void sim_put_time(struct simpool *p, struct sim_object *o, const char *field, int64_t unix_seconds);
/* Pairs of texts ended by NULL, and texts ended by NULL. */
void sim_put_map(struct simpool *p, struct sim_object *o, const char *field, const char *const *pairs);
void sim_put_list(struct simpool *p, struct sim_object *o, const char *field, const char *const *items);
void sim_map_set(struct simpool *p, struct sim_object *o, unsigned place, const char *key, const struct xapi_value *v);
void sim_map_unset(struct simpool *p, struct sim_object *o, unsigned place, const char *key);
void sim_list_add(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v);
void sim_list_remove(struct simpool *p, struct sim_object *o, unsigned place, const struct xapi_value *v);
/*
 * Between these two, changing the one end of a relation leaves its other end alone when that is a set; the end makes
 * all those sets at once, keeping what they had. For filling an empty database: one by one, a set of n costs n * n.
 */
void sim_bulk_begin(struct simpool *p);
void sim_bulk_end(struct simpool *p);
/*
 * Whatever names an object in a field that is no relation names it no more, as a pool's default SR or a machine's
 * affinity. It looks at all objects of the classes that may: for what goes seldom.
 */
void sim_let_go(struct simpool *p, const struct sim_object *gone);
/* Tell of a change though nothing changed. */
void sim_touch(struct simpool *p, struct sim_object *o);
/* The record of an object, encoded once until it changes. */
int sim_record(struct xapi_raw *ret, struct sim_object *o);
/* In one encoding only; the other one may be NULL. */
int sim_record_as(struct xapi_raw *ret, struct sim_object *o, bool json);
void sim_new_ref(struct simpool *p, char ret[SIM_REF_BYTES]);

/* One more line for simpool_notes(). */
void sim_note(struct simpool *p, const char *format, ...) XK_PRINTF(2, 3);

/* ---- clock: simulated time ---- */

uint64_t sim_monotonic_ns(const struct simpool *p);
int64_t sim_now_s(const struct simpool *p);
/* What the clock of a host says. */
int64_t sim_now_ns(const struct simpool *p, unsigned host);
struct timeval sim_delay(const struct simpool *p, uint64_t simulated_ns);

/* ---- call.c ---- */

/* A message called from inside, without a session: login. agent: whose User-Agent. returns whether it gave a ref. */
bool sim_call_inside(struct simpool *p, unsigned host, const char *message, const struct xapi_value *args, size_t count,
                     const char *agent, char ret_ref[SIM_REF_BYTES]);
/* An error as its texts: the code first. */
struct sim_error {
    unsigned count; /* 0: none */
    char texts[6][512];
};
void sim_error_set(struct sim_error *ret, const char *code, ...) __attribute__((sentinel));
void sim_error_take(struct sim_error *ret, const struct xapi_value *texts);
/*
 * A message called by the pool itself, which may do everything, on its master.
 *
 * args      without the session.
 * returns   false: it failed, and why; or it takes time.
 */
bool sim_call_own(struct simpool *p, const char *message, const struct xapi_value *args, size_t count,
                  char ret_ref[SIM_REF_BYTES], struct sim_error *ret_error);
void sim_rpc_xml(struct simpool *p, struct http_exchange *x);
void sim_rpc_json(struct simpool *p, struct http_exchange *x);
void sim_rpc_options(struct simpool *p, struct http_exchange *x);
/* Record the error of a call: its code and its parameters, ended by NULL. returns SIM_FAILED. */
enum sim_outcome sim_fail(struct sim_call *c, const char *code, ...) __attribute__((sentinel));
enum sim_outcome sim_no_memory(struct sim_call *c);
enum sim_outcome sim_bad_handle(struct sim_call *c, uint16_t class_index, const char *ref);
/* The object that argument number `arg` refers to. NULL: the error was recorded. */
struct sim_object *sim_arg(struct sim_call *c, unsigned arg);
/* Answer a call that waited, and free it. */
void sim_answer(struct sim_call *c, enum sim_outcome outcome);
/* One of nobody, for requests to other pools; sim_answer() frees it. NULL: no memory. */
struct sim_call *sim_call_new(struct simpool *p);
const char *sim_arg_text(const struct sim_call *c, unsigned arg);

/*
 * Work that takes `work_ns` of simulated time; then `finish` says how it ended.
 *
 * subject   gets `operation` into its current_operations meanwhile.
 * returns   SIM_WORKING, or SIM_FAILED when memory is out.
 */
enum sim_outcome sim_work(struct sim_call *c, uint64_t work_ns, sim_behaviour *finish, struct sim_object *subject,
                          const char *operation, bool cancellable);

/* Others see what a call without Async works on, too, for as long as it does. NULL: it cannot have a task, or no
 * memory. */
struct sim_object *sim_work_task(struct sim_call *c);
/* Another object works on it, too: what `operation` is for that one. After sim_work() with a subject. */
void sim_work_beside(struct sim_call *c, struct sim_object *other, const char *operation);
/* From a call's `finish`: there is more to do. returns SIM_WORKING, or SIM_FAILED when memory is out. */
enum sim_outcome sim_work_on(struct sim_call *c, uint64_t work_ns, sim_behaviour *finish);

/* ---- handlers.c: what is not a call ---- */

/* A request whose path begins so; the longest wins. The table stands in handlers.c. */
struct sim_route {
    const char *method, *path;
    const char *action; /* who asks has to show a session, or user and password, for this realm; NULL: anybody */
    unsigned roles;     /* one of which that session has to have */
    void (*handle)(struct simpool *p, struct http_exchange *x);
};

void sim_handle(void *pool, struct http_exchange *x);
/* Row number `at` of the table, and what was asked of it. NULL: there is none. */
const struct sim_route *sim_route_at(const struct simpool *p, unsigned at, struct sim_served *ret);
/* A value of the cookie or the query, unescaped. returns whether it is there and fits; ret is "" when it is not. */
bool sim_http_param(const struct http_exchange *x, const char *name, char *ret, size_t bytes);
/*
 * Whether the request shows a session (query or cookie session_id) or user and password (Basic) that are good.
 *
 * action    the realm, as http.tsv calls the request.
 * roles     who may do it.
 * returns   false: refused and answered. A slave takes the pool's sessions, as the real one asks its master.
 */
bool sim_http_allowed(struct simpool *p, struct http_exchange *x, const char *action, unsigned roles);

/* ---- the rest ---- */

enum sim_outcome sim_generic(struct sim_call *c);
/*
 * A constructor's record, checked: the fields that have to be there are, those that are known have their type.
 *
 * ret       a map of the fields that clients may give, in their types, with defaults for those left out.
 * returns   false: the error was recorded.
 */
bool sim_record_arg(struct sim_call *c, unsigned arg, const struct xapi_value **ret);
/* returns   whether an object of the class (NULL: none) meets the expression; `wrong` is set when that is none. */
bool sim_where(const struct xapi_class *class_row, const struct sim_object *o, const char *expression, bool *wrong);
int sim_seed(struct simpool *p, struct xk_err *err);

/* ---- identity.c: the hosts' certificates ---- */

/* Keys and certificates for the hosts that have none yet, or one for another address. */
int sim_identities_make(struct simpool *p, struct xk_err *err);
/* One more for a host, by its name and its address. */
int sim_identity_make(const struct simpool *p, unsigned host, struct http_identity **ret, struct xk_err *err);
/* Certificate objects that match them, instead of those that were there for these hosts. */
void sim_identities_tell(struct simpool *p);
void sim_identities_close(struct simpool *p);

/* The pool as a page for a browser: hosts and VMs, read only. */
void sim_page(struct simpool *p, struct http_exchange *x);

/* Commands of the real xe, each in a thread of its own; see cli.c. */
int sim_cli_open(struct simpool *p, struct xk_err *err);
void sim_cli_close(struct simpool *p);
void sim_cli_handle(struct simpool *p, struct http_exchange *x);

struct sim_session *sim_session_find(struct simpool *p, const char *ref);
void sim_session_end(struct simpool *p, struct sim_session *s);
void sim_sessions_close(struct simpool *p);
void sim_sessions_collect(struct simpool *p);
const char *sim_pool_secret(struct simpool *p);

struct sim_object *sim_task_create(struct simpool *p, const char *name, struct sim_session *session);
bool sim_task_is_over(const struct sim_object *task);
/* Forget old tasks, as the collector does. */
void sim_tasks_collect(struct simpool *p);
void sim_task_end(struct simpool *p, struct sim_object *task, enum sim_outcome outcome, const struct sim_call *c);

/* Calls that wait for events look again, once for all changes of this turn of the loop. */
void sim_events_wake(struct simpool *p);
void sim_events_heartbeat(struct simpool *p);
void sim_events_forget(struct simpool *p, struct sim_session *s);
void sim_events_closed(struct simpool *p, const char *session_ref);

/* Compute the allowed operations of an object of any class anew. */
void sim_allowed(struct simpool *p, struct sim_object *o);
void sim_allowed_close(struct simpool *p);
void sim_blobs_close(struct simpool *p);
void sim_blob_get(struct simpool *p, struct http_exchange *x);
void sim_blob_put(struct simpool *p, struct http_exchange *x);

/* ---- local.c ---- */

int sim_local_open(struct simpool *p, struct xk_err *err);
void sim_local_close(struct simpool *p);
/* Whether a request came through the socket of the host's own programs. */
bool sim_is_local(const struct simpool *p, const struct http_exchange *x);

/* ---- host-logs.c; files of machines and disks: export.c, import.c, raw-disk.c ---- */

void sim_database_dump(struct simpool *p, struct http_exchange *x);
/* The database as XML. secrets: with the objects of that class. */
void sim_database_text(struct simpool *p, struct xk_buf *b, bool secrets);
void sim_system_status(struct simpool *p, struct http_exchange *x);
void sim_host_logs(struct simpool *p, struct http_exchange *x);
void sim_export(struct simpool *p, struct http_exchange *x);
void sim_export_metadata(struct simpool *p, struct http_exchange *x);
void sim_import(struct simpool *p, struct http_exchange *x);
void sim_import_metadata(struct simpool *p, struct http_exchange *x);
void sim_import_raw_vdi(struct simpool *p, struct http_exchange *x);
void sim_export_raw_vdi(struct simpool *p, struct http_exchange *x);
/* Of the paths whose bodies may be less. */
extern const struct http_body_limit sim_body_limits[];
/* Whether the body of a PUT to that path is taken as it comes. */
bool sim_takes_early(void *pool, const char *path);

struct sim_row {
    const char *message;
    sim_behaviour *behaviour;
};
extern const struct sim_row sim_rrd_rows[], sim_session_rows[], sim_task_rows[], sim_event_rows[], sim_vm_rows[],
    sim_identity_rows[];
extern const struct sim_row *const sim_all_rows[]; /* NULL-ended */
/* Which message has which behaviour: p->behaviours, for free(). */
int sim_behaviours_open(struct simpool *p, struct xk_err *err);

#endif
