# bash completion for xenkit(1). All it knows comes from `xenkit --complete`.
_xenkit() {
    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" --complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # What ends in "=" or "." goes on.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace
    return 0
}
complete -o bashdefault -o default -F _xenkit xenkit

# The classic xe: readline cuts words at "=" and ":", so the line is cut anew, and what stands before them taken off.
_xenkit_xe() {
    local line=${COMP_LINE:0:COMP_POINT} last
    local -a words
    read -ra words <<<"$line"
    [[ $line == *' ' ]] && words+=('')
    mapfile -t COMPREPLY < <(xenkit --complete -- xe "${words[@]:1}" 2>/dev/null)
    last=${words[${#words[@]} - 1]}
    COMPREPLY=("${COMPREPLY[@]#"${last%"${last##*[=:]}"}"}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:] ]] && compopt -o nospace
    return 0
}
complete -o bashdefault -o default -F _xenkit_xe xe
