/* A mesh as text, records, a page, metrics. */
#ifndef NET_MESH_SHOW_H
#define NET_MESH_SHOW_H

#include "core/room.h"
#include "lib/mesh/verdict.h"

struct net_mesh {
    const struct mesh_plan *plan;
    const struct mesh_result *result;
    const struct mesh_verdict *verdict;
};

void net_mesh_show(struct xk_app *app, const struct net_mesh *m);
int net_mesh_page(struct xk_app *app, const struct net_mesh *m, const char *path, struct xk_err *err);
int net_mesh_metrics(struct xk_app *app, const struct net_mesh *m, const char *path, struct xk_err *err);

#endif
