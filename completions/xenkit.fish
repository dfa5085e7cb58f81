# fish completion for xenkit(1). All it knows comes from `xenkit --complete`.
function __xenkit_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    $program --complete -- $words (commandline -ct) 2>/dev/null
end
# Files are offered as well: fish shows them after the words that fit.
complete -c xenkit -a '(__xenkit_complete)'
