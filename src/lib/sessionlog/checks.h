/* The logs of XAPI as targets of checks; see sessionlog.h for what they are made from. */
#ifndef SESSIONLOG_CHECKS_H
#define SESSIONLOG_CHECKS_H

#include "core/check.h"
#include "lib/sessionlog/sessionlog.h"

/*
 * A finding for each group whose limit is nearly reached (warning), that lost sessions in the last day of the log
 * (critical), or before that (note).
 */
void sessionlog_find_limits(const struct xk_check *check, struct xk_findings *sink,
                            const struct sessionlog_summary *sum);

extern const struct xk_check sessionlog_checks[];
extern const struct xk_check_set sessionlog_check_set;

#endif
