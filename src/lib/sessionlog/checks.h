/* The logs of XAPI as targets of checks; see sessionlog.h for what they are made from. */
#ifndef SESSIONLOG_CHECKS_H
#define SESSIONLOG_CHECKS_H

#include "core/check.h"
#include "lib/sessionlog/sessionlog.h"

extern const struct xk_check sessionlog_checks[];
extern const struct xk_check_set sessionlog_check_set;

#endif
