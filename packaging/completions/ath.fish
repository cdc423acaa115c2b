# fish completion for ath(1): commands, their flags, and the names of keys and grants, from ath itself.

function __ath_commands
    ath --help | sed -n '/^commands:/,/^$/s/^  \([a-z ]*[a-z]\)  .*/\1/p'
end

# The words so far that are no flags, without `ath`.
function __ath_given
    set -l words (commandline -opc)
    string match -v -- '-*' $words[2..-1]
end

function __ath_names # of keys or grants
    ath $argv[1] list --json --timeout 2 2>/dev/null | string match -ra $argv[2] | string match -rv '^"'
end

function __ath_questions # what of consent.list
    for list in $argv
        ath consent list --field $list --timeout 2 2>/dev/null | string match -ra '"id":"([^"]*)"' |
            string match -rv '^"'
    end
end

function __ath_complete
    set -l given (__ath_given)
    set -l current (commandline -ct)
    set -l previous (commandline -opc)[-1]
    switch $previous
        case --key --user-key
            __ath_names key '"name":"([^"]*)","role"'
            return
        case --hsm
            ath status --json --timeout 2 2>/dev/null | string match -ra '"name":"([^"]*)","kind"' |
                string match -rv '^"'
            return
        case --algorithm
            printf '%s\n' ES256 ES384 EdDSA
            return
        case --prompter --pinentry
            __fish_complete_command
            return
        case --role
            printf '%s\n' user client server
            return
        case --method
            printf '%s\n' group:use group:attest group:handshake group:application group:keys-read
            return
        case --format
            switch "$given[1..2]"
                case 'audit export'
                    printf '%s\n' jsonl journald otel tlog-tiles
                case 'key export'
                    printf '%s\n' jwk pem did ssh tss2 agent.json
            end
            return
        case --socket --client --server --user --output --from --state-dir
            __fish_complete_path $current
            return
    end
    if string match -q -- '-*' $current
        begin
            ath $given[1..2] --help 2>/dev/null; or ath $given[1] --help 2>/dev/null
        end | string match -r -- '^ +(?:-[a-z], )?(--[a-z0-9-]+)' | string match -r -- '^--.*'
        printf '%s\n' --json --field --socket --quiet --help
    else if string match -q '@*' $current
        for path in (__fish_complete_path (string sub -s 2 -- $current))
            echo @$path
        end
    else if test (count $given) -eq 0
        __ath_commands | string replace -r ' .*' '' | sort -u
    else if string match -qr '^(attest|freeze|unfreeze|key (show|delete|export))$' "$given"
        __ath_names key '"name":"([^"]*)","role"'
    else if test "$given[1..2]" = 'policy diff'
        __fish_complete_path $current
    else if test "$given" = run; or string match -qr '^grant (show|revoke)$' "$given"
        __ath_names grant '"name":"([^"]*)"'
    else if string match -qr '^consent (list|answer)$' "$given"
        __ath_questions questions
    else if test "$given" = 'consent forget'
        __ath_questions allowed refused
    else if test (count $given) -eq 1
        __ath_commands | string match -r "^$given[1] (.*)" | string match -v "$given[1] *"
    end
end

# Behind `ath run NAME … --` it is another command's line.
function __ath_runs
    set -l words (commandline -opc)
    contains run (__ath_given); and contains -- -- $words
end

function __ath_complete_command
    set -l words (commandline -opc)
    set -l at (contains -i -- -- $words)
    __fish_complete_subcommand --commandline $words[(math $at + 1)..-1] (commandline -ct)
end

complete -c ath -f -n 'not __ath_runs' -a '(__ath_complete)'
complete -c ath -n __ath_runs -a '(__ath_complete_command)'
