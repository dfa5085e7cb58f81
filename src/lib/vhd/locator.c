/*
 * XenServer writes the same relative path three times (a Mac URL and two Windows paths), Windows writes a relative and
 * an absolute one. All become one UTF-8 path with slashes, and the first that can be opened is the parent.
 */
#include "lib/vhd/locator.h"

#include "core/text.h"
#include "lib/vhd/canon.h"

#include <limits.h>
#include <string.h>

#define FILE_URL "file://"

/* Take drive letter and backslashes off a Windows path, in place. */
static void from_windows(char *text)
{
    if (((text[0] | 0x20) >= 'a' && (text[0] | 0x20) <= 'z') && text[1] == ':')
        memmove(text, text + 2, strlen(text + 2) + 1);
    for (char *c = text; *c; c++) {
        if (*c == '\\')
            *c = '/';
    }
}

static int decode(struct xk_buf *ret, uint32_t code, const uint8_t *bytes, size_t count, struct xk_err *err)
{
    switch (code) {
    case VHD_LOCATOR_W2RU:
    case VHD_LOCATOR_W2KU:
        if (xk_utf16_to_utf8(ret, bytes, count & ~(size_t)1, false) < 0 && !ret->error)
            return xk_fail(err, -EBADMSG, "the locator is not UTF-16");
        if (ret->data)
            from_windows(ret->data);
        break;
    case VHD_LOCATOR_WI2R:
    case VHD_LOCATOR_WI2K:
        xk_buf_add(ret, bytes, strnlen((const char *)bytes, count));
        if (ret->data)
            from_windows(ret->data);
        break;
    case VHD_LOCATOR_MACX: {
        const char *text = (const char *)bytes;
        size_t length = strnlen(text, count);
        if (length >= strlen(FILE_URL) && memcmp(text, FILE_URL, strlen(FILE_URL)) == 0) {
            text += strlen(FILE_URL);
            length -= strlen(FILE_URL);
        }
        xk_buf_add(ret, text, length);
        break;
    }
    default:
        return xk_fail(err, -ENOTSUP, "locator code %08x is not one that can be read", code);
    }
    if (ret->error)
        return xk_fail_memory(err);
    return 0;
}

int vhd_locator_text(char **ret, const struct vhd *v, int n, struct xk_err *err)
{
    const struct vhd_locator *l = &v->header.locators[n];
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(4 * VHD_LOCATOR_TEXT_MAX);

    if (v->header_state == VHD_ABSENT || l->code == VHD_LOCATOR_NONE)
        return xk_fail(err, -ENOENT, "%s: locator %d is empty", v->path, n);
    if (l->length > VHD_LOCATOR_TEXT_MAX || l->offset > v->file_bytes || v->file_bytes - l->offset < l->length)
        return xk_fail(err, -EBADMSG, "%s: locator %d (%u bytes at byte %llu) lies outside the file", v->path, n,
                       l->length, (unsigned long long)l->offset);

    xk_autofree uint8_t *bytes = xk_alloc(l->length);
    if (!bytes)
        return xk_fail_memory(err);
    int code = xk_file_read(&v->file, bytes, l->length, l->offset, err);
    if (code == 0)
        code = decode(&text, l->code, bytes, l->length, err);
    if (code < 0)
        return code;
    if (text.len == 0)
        return xk_fail(err, -EBADMSG, "%s: locator %d has no text", v->path, n);
    *ret = xk_buf_take(&text);
    return *ret ? 0 : xk_fail_memory(err);
}

int vhd_parent_name(char **ret, const struct vhd *v, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(4 * sizeof(v->header.parent_name));

    xk_buf_add_str(&text, "");
    const int code = xk_utf16_to_utf8(&text, v->header.parent_name, sizeof(v->header.parent_name), true);
    if (code == -EILSEQ)
        return xk_fail(err, -EBADMSG, "%s: the parent name in the header is not UTF-16", v->path);
    *ret = xk_buf_take(&text);
    return *ret ? 0 : xk_fail_memory(err);
}

static int fail_not_utf8(struct xk_err *err, const char *what, const char *text)
{
    xk_fail(err, -EILSEQ, "the %s %s is not UTF-8 and cannot be stored as a parent", what, text);
    xk_err_exit(err, XK_EXIT_CANNOT);
    return -EILSEQ;
}

int vhd_set_parent_name(struct vhd_header *h, const char *parent, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf name = XK_BUF_INIT(sizeof(h->parent_name));
    const int code = xk_utf8_to_utf16(&name, xk_base_name(parent), true);
    if (code == -ENOMEM)
        return xk_fail_memory(err);
    if (code == -EILSEQ)
        return fail_not_utf8(err, "name", parent);
    if (code < 0)
        return xk_fail(err, code == -EFBIG ? -ENAMETOOLONG : code,
                       "%s: the name cannot be stored as UTF-16 in 512 bytes", parent);
    memset(h->parent_name, 0, sizeof(h->parent_name));
    memcpy(h->parent_name, name.data, name.len);
    return 0;
}

/* The folder that holds a file, links resolved; the caller frees it. */
static int real_dir(char **ret, const char *path, struct xk_err *err)
{
    xk_autofree char *real = vhd_canonical_path(path);
    if (!real)
        return xk_fail_sys(err, -errno, "%s", path);
    *ret = xk_dir_name(real);
    return *ret ? 0 : xk_fail_memory(err);
}

static int check_root(const char *real, const char *root, struct xk_err *err)
{
    if (!root)
        return 0;
    xk_autofree char *real_root = realpath(root, NULL);
    if (!real_root)
        return xk_fail_sys(err, -errno, "chain root %s", root);
    const size_t length = strlen(real_root);
    if (strcmp(real_root, "/") == 0 || (strncmp(real, real_root, length) == 0 && real[length] == '/'))
        return 0;
    return xk_fail(err, -EXDEV, "the parent %s lies outside the chain root %s", real, real_root);
}

/* returns 1 when the candidate is the parent, 0 to try the next one, a negative errno value to give up. */
static int try_candidate(char **ret_path, const char *dir, const char *text, const struct vhd_parent_search *search,
                         struct xk_buf *tried, struct xk_err *err)
{
    while (xk_has_prefix(text, "./"))
        text += 2; /* so that the same place is not told twice */
    xk_autofree char *joined = xk_path_join(dir, text);
    if (!joined)
        return xk_fail_memory(err);
    /* Against a root the links count; a volume keeps its lasting name otherwise. */
    xk_autofree char *real = search && search->root ? realpath(joined, NULL) : vhd_canonical_path(joined);
    if (!real && errno == ENOMEM)
        return xk_fail_memory(err);
    if (!real || access(real, R_OK) != 0) {
        if (!strstr(xk_buf_str(tried), joined))
            xk_buf_printf(tried, "%s%s", tried->len ? ", " : "", joined);
        return 0;
    }
    const int code = check_root(real, search ? search->root : NULL, err);
    if (code < 0)
        return code;
    *ret_path = XK_TAKE(real);
    return 1;
}

int vhd_find_parent(char **ret_path, const struct vhd *v, const struct vhd_parent_search *search, struct xk_err *err)
{
    xk_autofree char *dir = NULL;
    xk_auto(xk_buf_done) struct xk_buf tried = XK_BUF_INIT(VHD_LOCATORS * (PATH_MAX + 2));

    if (v->footer.type != VHD_DIFFERENCING)
        return xk_fail(err, -EINVAL, "%s: a %s image has no parent", v->path, vhd_type_name(v->footer.type));
    int code = real_dir(&dir, v->path, err);
    if (code < 0)
        return code;

    for (int i = 0; i <= VHD_LOCATORS; i++) {
        xk_autofree char *text = NULL;
        code = i < VHD_LOCATORS ? vhd_locator_text(&text, v, i, NULL) : vhd_parent_name(&text, v, NULL);
        if (code == -ENOMEM)
            return xk_fail_memory(err);
        if (code < 0 || !text[0])
            continue;
        code = try_candidate(ret_path, dir, text, search, &tried, err);
        if (code != 0)
            return code < 0 ? code : 0;
    }
    code = xk_fail(err, -ENOENT, "%s: its parent is missing; tried %s", v->path,
                   tried.len ? xk_buf_str(&tried) : "nothing, since no locator can be read");
    xk_err_hint(err, "put the parent back, or point to where it is now: `vhd-util modify -n %s -p PARENT`", v->path);
    return code;
}

char *vhd_relative_path(const char *from_dir, const char *to_file)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(4 * PATH_MAX);
    size_t common = 0;

    /* The common part ends at a slash of both (or at the end of from_dir). */
    for (size_t i = 0;; i++) {
        const char a = from_dir[i] ? from_dir[i] : '/';
        if (a == '/' && to_file[i] == '/')
            common = i;
        if (!from_dir[i] || a != to_file[i])
            break;
    }
    const char *rest = from_dir + common;
    size_t ups = 0;
    for (const char *c = rest; *c; c++)
        ups += *c == '/' && c[1] != '\0';

    xk_buf_add_str(&text, ups ? "" : "./");
    for (size_t i = 0; i < ups; i++)
        xk_buf_add_str(&text, "../");
    xk_buf_add_str(&text, to_file[common] == '/' ? to_file + common + 1 : to_file + common);
    return xk_buf_take(&text);
}

int vhd_locator_texts_make(struct vhd_locator_texts *ret, const char *child_dir, const char *parent, struct xk_err *err)
{
    xk_autofree char *relative = vhd_relative_path(child_dir, parent);
    xk_auto(xk_buf_done) struct xk_buf windows = XK_BUF_INIT(4 * PATH_MAX);

    *ret = (struct vhd_locator_texts){
        .macx = XK_BUF_INIT(VHD_LOCATOR_TEXT_MAX),
        .w2ku = XK_BUF_INIT(VHD_LOCATOR_TEXT_MAX),
        .w2ru = XK_BUF_INIT(VHD_LOCATOR_TEXT_MAX),
    };
    if (!relative)
        return xk_fail_memory(err);
    xk_buf_printf(&ret->macx, FILE_URL "%s", relative);
    xk_buf_printf(&windows, ".\\%s", relative[0] == '.' && relative[1] == '/' ? relative + 2 : relative);
    for (size_t i = 0; i < windows.len; i++) {
        if (windows.data[i] == '/')
            windows.data[i] = '\\';
    }
    int code = ret->macx.error ? ret->macx.error : windows.error;
    if (code == 0)
        code = xk_utf8_to_utf16(&ret->w2ku, xk_buf_str(&windows), false);
    if (code == 0)
        code = xk_utf8_to_utf16(&ret->w2ru, xk_buf_str(&windows), false);
    if (code == -EILSEQ)
        code = fail_not_utf8(err, "path", relative);
    else if (code == -EFBIG)
        code = xk_fail(err, -ENAMETOOLONG, "the path %s is too long to be stored as a parent", relative);
    else if (code < 0)
        xk_fail_memory(err);
    if (code < 0)
        vhd_locator_texts_done(ret);
    return code;
}

void vhd_locator_texts_done(struct vhd_locator_texts *t)
{
    xk_buf_done(&t->macx);
    xk_buf_done(&t->w2ku);
    xk_buf_done(&t->w2ru);
}
