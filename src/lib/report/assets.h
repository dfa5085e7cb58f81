/*
 * style.css, page.js and dygraphs as arrays, made at build time by scripts/embed.c. dygraphs is empty when its package
 * was not there.
 */
#ifndef REPORT_ASSETS_H
#define REPORT_ASSETS_H

#include <stddef.h>

extern const char report_style[], report_page_js[], report_dygraphs_js[];
extern const size_t report_style_len, report_page_js_len, report_dygraphs_js_len;
/* Sources for the content security policy: 'sha256-…'. */
extern const char report_page_js_hash[], report_dygraphs_js_hash[];

#endif
