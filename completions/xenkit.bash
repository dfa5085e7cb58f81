# bash completion for xenkit(1). All it knows comes from `xenkit --complete`.
_xenkit() {
    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" --complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # What ends in "=" or "." goes on.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace
    return 0
}
complete -o bashdefault -o default -F _xenkit xenkit
