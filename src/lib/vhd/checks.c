/*
 * One row for each kind of problem. The survey has found them all already, so one function serves every row: it hands
 * over the problems of the row's kind.
 */
#include "lib/vhd/checks.h"

#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static int run_kind(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct vhd_survey *const s = subject;

    for (size_t i = 0; i < s->count; i++) {
        const struct vhd_survey_image *const image = &s->images[i];
        for (size_t p = 0; p < image->problems->count; p++) {
            const struct vhd_problem *const problem = &image->problems->items[p];
            if (problem->kind == (enum vhd_problem_kind)check->detail)
                xk_find(sink, check, problem->severity, image->path, problem->fix[0] ? problem->fix : NULL, "%s",
                        problem->evidence);
        }
    }
    return 0;
}

/* Thin provisioning promises more than there is on purpose; it gets serious when little is left. */
static int run_space(const struct xk_check *check, const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    const struct vhd_survey *const s = subject;

    for (size_t i = 0; i < s->file_system_count; i++) {
        const struct vhd_survey_fs *const fs = &s->file_systems[i];
        if (fs->growth_bytes <= fs->free_bytes || fs->total_bytes == 0)
            continue;
        xk_autofree char *folder = xk_dir_name(fs->example);
        if (!folder)
            return xk_fail_memory(err);
        const bool scarce = fs->free_bytes < fs->total_bytes / 20;
        xk_find(sink, check, scarce ? XK_WARNING : XK_NOTE, folder, NULL,
                "the disks here can still grow by %s, the file system has %s of %s free", xk_size(fs->growth_bytes).s,
                xk_size(fs->free_bytes).s, xk_size(fs->total_bytes).s);
    }
    return 0;
}

#define ROW(kind, id_, severity_, title_, why_, fix_)                                                                  \
    [kind] = {.id = "vhd." id_,                                                                                        \
              .title = title_,                                                                                         \
              .severity = severity_,                                                                                   \
              .why = why_,                                                                                             \
              .fix = fix_,                                                                                             \
              .run = run_kind,                                                                                         \
              .detail = kind}

const struct xk_check vhd_checks[] = {
    ROW(VHD_P_UNREADABLE, "unreadable", XK_CRITICAL, "Image cannot be read",
        "What cannot be opened cannot be attached to a VM either.",
        "look at the file's owner, mode and type (`ls -l FILE`), and at the kernel's log for I/O errors (`dmesg`)"),
    ROW(VHD_P_NOT_VHD, "not-vhd", XK_CRITICAL, "Not a VHD, although it is called so",
        "Neither the end nor the start of the file holds a VHD footer: it is something else, or both were overwritten.",
        "see what it is (`file FILE`); a raw disk becomes a VHD with `qemu-img convert -O vpc -o force_size FILE "
        "NEW.vhd`"),
    ROW(VHD_P_POISONED, "poisoned", XK_CRITICAL, "Disabled by an unfinished resize",
        "A resize marks the image as unusable until it is done. It was interrupted, and nothing opens the image now.",
        "undo it with the journal the resize left: `vhd-util revert -n FILE -j JOURNAL`"),
    ROW(VHD_P_FOOTER, "footer", XK_CRITICAL, "Footer missing or damaged",
        "The last 512 bytes say what the image is. Without them many programs refuse it; a file that was cut off looks "
        "like this, too.",
        "copy the file, then write the footer again from its copy at the start: `vhd-util repair -n FILE -b`"),
    ROW(VHD_P_FOOTER_COPY, "footer-copy", XK_WARNING, "Copy of the footer damaged",
        "The copy at the start of the file is what saves the image when its end is lost; scans read it instead of the "
        "end.",
        "write it again from the footer at the end: `vhd-util repair -n FILE`"),
    ROW(VHD_P_FOOTERS_DIFFER, "footers-differ", XK_WARNING, "Footer and its copy disagree",
        "Programs that read the one see another disk than programs that read the other.",
        "compare both (`xenkit vhd info FILE`), then write the copy again from the footer: `vhd-util repair -n FILE`"),
    ROW(VHD_P_FOOTER_FIELD, "footer-field", XK_WARNING, "Footer holds a value that cannot be",
        "The checksum is right, so a program wrote this. Stricter readers refuse the image.",
        "see all fields with `xenkit vhd info FILE`; copy the disk into a new image with `vhd-util copy -n FILE -N "
        "NEW.vhd`"),
    ROW(VHD_P_SHORT_FOOTER, "short-footer", XK_NOTE, "Footer of 511 bytes",
        "Virtual PC before 2004 wrote one byte less. It can be read, but not every program knows that.",
        "nothing need be done; `vhd-util repair -n FILE` writes a footer of 512 bytes"),
    ROW(VHD_P_HEADER, "header", XK_CRITICAL, "Header missing or damaged",
        "The header says where the block table is and how large blocks are. Without it no data can be found.",
        "see what can be rebuilt with `xenkit vhd repair FILE`; --apply does it and leaves an undo file"),
    ROW(VHD_P_HEADER_FIELD, "header-field", XK_WARNING, "Header holds a value that cannot be",
        "The checksum is right, so a program wrote this. Stricter readers refuse the image.",
        "see all fields with `xenkit vhd info FILE`; copy the disk into a new image with `vhd-util copy -n FILE -N "
        "NEW.vhd`"),
    ROW(VHD_P_GEOMETRY, "geometry", XK_WARNING, "Geometry and size disagree",
        "Some programs (old Virtual PC, qemu for foreign creators) take the size from cylinders, heads and sectors: "
        "they see a disk of another length, and a guest may miss its last sectors.",
        "compare both with `xenkit vhd info FILE`; a copy made by `vhd-util copy -n FILE -N NEW.vhd` has the right "
        "geometry"),
    ROW(VHD_P_SIZE, "size", XK_CRITICAL, "Size that the image cannot have",
        "The disk claims more than the format, its readers or the file itself can hold: its last sectors are not "
        "there.",
        "find out which size is right (`xenkit vhd info FILE`) before anything writes to it; restore a cut file from a "
        "backup"),
    ROW(VHD_P_BAT_OUTSIDE, "bat-outside", XK_CRITICAL, "Block table outside the file or over other parts",
        "The table says where each block of the disk is. This one cannot be trusted or not be read.",
        "do not write to it; see what can be rebuilt with `xenkit vhd repair FILE`, else restore a backup"),
    ROW(VHD_P_BAT_SHORT, "bat-short", XK_CRITICAL, "Block table too short for the disk",
        "The last blocks of the disk have no entry: reading them fails, and what was written there is lost.",
        "find out which size is right (`xenkit vhd info FILE`) before anything writes to it"),
    ROW(VHD_P_BAT_PAST_END, "bat-past-end", XK_CRITICAL, "Blocks lie outside the file",
        "The table points past the end of the data: the file was cut off (a copy that stopped?) or the table is "
        "damaged.",
        "copy the file again from where it came; what is left can be read with `xenkit vhd read FILE`"),
    ROW(VHD_P_BAT_OVERLAP, "bat-overlap", XK_CRITICAL, "Blocks overlap",
        "Two parts of the disk, or a part and the image's own tables, use the same bytes: writing one destroys the "
        "other.",
        "do not write to it; restore it from a backup, or save what is readable with `xenkit vhd read FILE`"),
    ROW(VHD_P_BITMAP, "bitmap", XK_CRITICAL, "Block bitmap unreadable or impossible",
        "The bitmap before each block says which of its sectors are in this image and which in its parent.",
        "look at the kernel's log for I/O errors (`dmesg`), copy the file to a sound disk, and check it again"),
    ROW(VHD_P_BITMAP_DATA, "bitmap-data", XK_WARNING, "Data where the bitmap says there are none",
        "Readers skip sectors that the bitmap does not mark: what is stored there is not seen. A crash between writing "
        "data and bitmap leaves this, and so does a damaged bitmap.",
        "compare the disk with a backup; `vhd-util check -n FILE -b` lists every such sector"),
    ROW(VHD_P_BATMAP, "batmap", XK_WARNING, "Batmap damaged or wrong",
        "The batmap tells XenServer which blocks are full, so that it need not ask their bitmaps. A wrong one makes it "
        "return stale data.",
        "make it anew from the bitmaps: `xenkit vhd repair --apply FILE`"),
    ROW(VHD_P_LOCATOR, "locator", XK_WARNING, "Parent locator damaged",
        "Locators say where the parent is, once for each platform. A reader that relies on this one does not find it.",
        "write the locators again: `xenkit vhd repair --apply FILE`, with --parent PARENT when it is not found"),
    ROW(VHD_P_MISALIGNED, "misaligned", XK_NOTE, "Block data not on pages",
        "The data of the blocks do not begin on a 4 KiB page of the file (qemu, Virtual PC and Hyper-V write them so). "
        "They are sound, but each write touches one page more, and direct I/O on disks with 4 KiB sectors is slow.",
        "nothing need be done; `vhd-util copy -n FILE -N NEW.vhd` writes an aligned image"),
    ROW(VHD_P_TRAILING, "trailing", XK_NOTE, "Bytes that nothing refers to",
        "Between the last block and the footer lies space that no table names: left by an interrupted write, or "
        "appended.",
        "nothing need be done; `vhd-util repair -n FILE` puts the footer behind the last block and cuts the rest"),
    ROW(VHD_P_PARENT_MISSING, "parent-missing", XK_CRITICAL, "Parent missing",
        "A differencing image holds only what changed since its snapshot. Without the parent the rest is gone.",
        "put the parent back, or say where it is now: `vhd-util modify -n FILE -p PARENT`"),
    ROW(VHD_P_PARENT_CHANGED, "parent-changed", XK_CRITICAL, "Parent is another image",
        "The file in the parent's place has another UUID (or is no VHD): reading through it mixes two disks.",
        "find the right parent (`xenkit vhd scan FOLDER` lists UUIDs) and name it: `vhd-util modify -n FILE -p "
        "PARENT`"),
    ROW(VHD_P_PARENT_TOUCHED, "parent-touched", XK_NOTE, "Parent changed after the snapshot",
        "If data were written to the parent, the child no longer fits it. Copying a file or merging into it changes "
        "its "
        "time stamp as well.",
        "make sure that no VM uses the parent; hide it with `vhd-util set -n PARENT -f hidden -v 1`"),
    ROW(VHD_P_PARENT_SIZE, "parent-size", XK_WARNING, "Disk smaller than its parent's",
        "Snapshots have their parent's size or a larger one. The end of the parent's disk cannot be seen through this "
        "image.",
        "compare both with `xenkit vhd info FILE PARENT`; grow the child with `vhd-util resize -n FILE -s MIB -j "
        "JOURNAL`"),
    ROW(VHD_P_LOOP, "parent-loop", XK_CRITICAL, "Loop of parents",
        "Following the parents never ends, so no program can read the disk.",
        "find the right parent (`xenkit vhd scan FOLDER` lists UUIDs) and name it: `vhd-util modify -n FILE -p "
        "PARENT`"),
    ROW(VHD_P_DEEP, "deep", XK_WARNING, "Chain too deep",
        "XenServer refuses snapshots beyond 30 images in a chain, and each one makes reading slower.",
        "merge images from the top: `vhd-util coalesce -n FILE` writes one into its parent"),
    ROW(VHD_P_HIDDEN_LEAF, "hidden-leaf", XK_WARNING, "Hidden image without children",
        "XenServer hides images that are only there as parents. Nothing needs this one any more, and it takes space.",
        "make sure that no other storage refers to it, then delete it, or rescan the repository: `xe sr-scan uuid=SR`"),
    ROW(VHD_P_SPARSE, "sparse", XK_NOTE, "Fixed image without its space",
        "A fixed image promises that its space is there. This file has holes: a guest's write into one can still fail "
        "for "
        "lack of space.",
        "reserve it with `fallocate -l SIZE FILE` (its present size; data stay), or take a dynamic image"),
    ROW(VHD_P_DUPLICATE_UUID, "duplicate-uuid", XK_WARNING, "Two images with one UUID",
        "A copy on the file level keeps the UUID: children cannot tell the two apart, and a wrong parent goes "
        "unnoticed.",
        "keep only one in the folder, or make the copy with `vhd-util copy -n FILE -N NEW.vhd`"),
    ROW(VHD_P_COALESCE, "coalesce", XK_NOTE, "A coalesce would free space",
        "The hidden parent has a single child: nothing needs the state between them, and overlapping blocks are kept "
        "twice.",
        "XenServer does this by itself when nobody uses the chain; by hand: `vhd-util coalesce -n FILE`"),
    [VHD_P_SPACE] =
        {.id = "vhd.space",
         .title = "Disks can outgrow the file system",
         .severity = XK_NOTE,
         .why = "The disks grow as guests write. When the file system is full, every VM on it stops with I/O errors.",
         .fix = "free space or add some before it is needed; see which disks can grow with `xenkit vhd scan FOLDER`",
         .run = run_space,
         .detail = VHD_P_SPACE},
    [VHD_P_KINDS] = {.id = NULL},
};

const struct xk_check *vhd_check_of(enum vhd_problem_kind kind)
{
    assert(kind < VHD_P_KINDS);
    return &vhd_checks[kind];
}

static bool accepts(const char *target)
{
    struct stat st;
    return stat(target, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode));
}

static int open_survey(void **ret_subject, struct xk_app *app, const char *const *targets, size_t count,
                       const void *access, struct xk_err *err)
{
    struct xk_prog progress;
    const struct vhd_survey_options options = {
        .recurse = true,
        .tables = true,
        .audit = {.bitmaps = true, .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S},
        .follow_parents = true,
        .progress = &progress,
    };
    struct vhd_survey *const s = xk_zalloc(sizeof(*s));

    if (!s)
        return xk_fail_memory(err);
    xk_prog_begin(&progress, app->log, app->clock, "examining disk images", 0, false);
    const int code = vhd_survey_run(s, app->fs, targets, count, &options, err);
    xk_prog_end(&progress);
    if (code < 0) {
        free(s);
        return code;
    }
    *ret_subject = s;
    return 0;
}

static void close_survey(void *subject)
{
    if (!subject)
        return;
    vhd_survey_done(subject);
    free(subject);
}

const struct xk_check_set vhd_check_set = {
    .name = "vhd",
    .summary = "VHD images: files, and folders with all that lies below",
    .accepts = accepts,
    .open = open_survey,
    .close = close_survey,
    .checks = vhd_checks,
};
