/*
 * What a mesh's measurements amount to: which link or host is not like the others, and by which numbers.
 *
 * Links are compared in the pattern "pairs" alone, where none shares an end with another. One is out of line when it
 * is further from the median than three scaled median absolute deviations and, since a deviation can be tiny, also by
 * a share of the median that matters. A host most of whose links are out of line is named instead of the links.
 */
#ifndef MESH_VERDICT_H
#define MESH_VERDICT_H

#include "core/check.h"
#include "lib/mesh/run.h"

#define MESH_OUTLIER_MADS 3.0
#define MESH_SLOW_SHARE   0.75 /* of the median rate */
#define MESH_LOSS_PERCENT 0.1  /* more than the median */
#define MESH_DELAY_FACTOR 2.0  /* of the usual round trip; medians both, since one hiccup is no property of a link */
#define MESH_DELAY_MS     5.0  /* and so much above it */
#define MESH_ASYMMETRY    0.6  /* the slower direction's share of the other one */
#define MESH_SPREAD_MS    50
#define MESH_LINKS_MIN    6 /* fewer have no usual value */

enum mesh_metric { MESH_RATE, MESH_LOSS, MESH_DELAY, MESH_METRICS };

/* Of all links of the pattern "pairs" for which the metric is known. */
struct mesh_usual {
    size_t count;
    double median, mad, min, max, mean, stddev; /* bit/s, percent, ms; mad is scaled to a standard deviation */
};

struct mesh_verdict {
    struct mesh_usual usual[MESH_METRICS];
    struct xk_findings findings; /* sorted */
};

/* returns 0; -ENOMEM. `ret` is to be ended by mesh_verdict_done() in any case. */
int mesh_verdict_find(struct mesh_verdict *ret, const struct mesh_plan *plan, const struct mesh_result *result);
void mesh_verdict_done(struct mesh_verdict *v);

#endif
