# The completion files, each in its own shell, against what the program knows.

. "$XENKIT_SOURCE/tests/tap.sh"

PATH=$(dirname "$XENKIT"):$PATH
files=$XENKIT_SOURCE/completions

for file in xenkit.bash _xenkit xenkit.fish; do
    ok "$file has at most 40 lines" test "$(wc -l <"$files/$file")" -le 40
done

rooms=$("$XENKIT" --complete -- '')
verbs=$("$XENKIT" --complete -- vhd '')
like "a room is offered" "$rooms" '^vhd$'
like "a verb is offered" "$verbs" '^info$'

# bash: COMP_WORDS as readline splits a line, "=" being a word of its own.
complete_bash() {
    bash --norc -c '
        . "$1/xenkit.bash"
        shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _xenkit 2>/dev/null
        [ ${#COMPREPLY[@]} -eq 0 ] || printf "%s\n" "${COMPREPLY[@]}"' bash "$files" "$@"
}
is "bash: rooms" "$(complete_bash xenkit '')" "$rooms"
is "bash: verbs of a room" "$(complete_bash xenkit vhd '')" "$verbs"
is "bash: a verb that was begun" "$(complete_bash xenkit vhd inf)" "info"
like "bash: options" "$(complete_bash xenkit vhd info --)" '^--json$'
is "bash: files are left to the shell" "$(complete_bash xenkit vhd info '')" ""
like "bash: the function is registered with files to fall back to" \
    "$(bash --norc -c '. "$1/xenkit.bash"; complete -p xenkit' bash "$files")" '-o default .*-F _xenkit xenkit'

# The real thing: readline itself completes a line on a terminal.
if command -v script >/dev/null 2>&1; then
    printf '. %s/xenkit.bash\nPS1="> "\nbind "set enable-bracketed-paste off"\n' "$files" >"$tmp/rc"
    typed=$(printf 'xenkit vhd inf\t--vers\t\nexit\n' |
        script -qec "bash --noprofile --rcfile $tmp/rc -i" /dev/null 2>/dev/null)
    like "bash: a line is completed and runs" "$typed" '^xenkit [0-9]'
else
    skip "bash: a line is completed and runs" "script is not installed"
fi

if command -v zsh >/dev/null 2>&1; then
    ok "zsh: the file is valid" zsh -n "$files/_xenkit"
    # compadd and _files only work inside the line editor: here they print what they were given.
    complete_zsh() {
        zsh -fc '
            compdef() { }
            compadd() { shift; print -rl -- "$@" }
            _files() { print -r -- FILES }
            source $1/_xenkit
            shift
            words=("$@") CURRENT=$#
            _xenkit' zsh "$files" "$@"
    }
    is "zsh: rooms" "$(complete_zsh xenkit '')" "$rooms"
    is "zsh: verbs of a room" "$(complete_zsh xenkit vhd '')" "$verbs"
    if command -v script >/dev/null 2>&1; then
        printf 'fpath=(%s $fpath)\nautoload -Uz compinit && compinit -u -D\nPS1="> "\n' "$files" >"$tmp/.zshrc"
        typed=$(printf 'xenkit vhd inf\t--vers\t\nexit\n' |
            ZDOTDIR=$tmp script -qec "zsh -i" /dev/null 2>/dev/null)
        like "zsh: a line is completed and runs" "$typed" '^xenkit [0-9]'
    fi
    is "zsh: files" "$(complete_zsh xenkit vhd info '')" "FILES"
else
    skip "zsh completes" "zsh is not installed"
fi

if command -v fish >/dev/null 2>&1; then
    HOME=$tmp
    export HOME
    complete_fish() {
        fish --no-config -c 'source $argv[1]/xenkit.fish; complete -C $argv[2]' "$files" "$1"
    }
    like "fish: rooms" "$(complete_fish 'xenkit ')" '^vhd$'
    like "fish: verbs of a room" "$(complete_fish 'xenkit vhd ')" '^info$'
    is "fish: options" "$(complete_fish 'xenkit vhd info --jsonl')" "--jsonl"
    : >a-file.vhd
    like "fish: files" "$(complete_fish 'xenkit vhd info a-f')" '^a-file\.vhd$'
else
    skip "fish completes" "fish is not installed"
fi

done_testing
