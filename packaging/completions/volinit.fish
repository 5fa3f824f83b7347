# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_volinit_global_optspecs
    string join \n config= root= json v/verbose h/help V/version
end

function __fish_volinit_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_volinit_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_volinit_using_subcommand
    set -l cmd (__fish_volinit_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c volinit -n "__fish_volinit_needs_command" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_needs_command" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_needs_command" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_needs_command" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_needs_command" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_needs_command" -s V -l version -d 'Print version'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "up" -d 'Attach, prepare, mount and publish the volumes, all at once; a second run does nothing'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "plan" -d 'Show what `up` would do, and why; touches nothing'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "grow" -d 'Only grow what is mounted; fails when it can\'t (for cfn-hup or a timer)'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "release" -d 'Take the metadata back, unmount and detach, for a planned move; what is not here is released already'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "status" -d 'Show what is declared beside what is there'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "check" -d 'Check the config, and show each error with its line'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "render" -d 'Print the units that a boot needs, or write them under --root DIR; touches no device'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "devices" -d 'List the block devices, what they carry, and whether each could be used'
complete -c volinit -n "__fish_volinit_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c volinit -n "__fish_volinit_using_subcommand up" -l device -d 'Without a config: the device, as in `volinit up --device /dev/xvdb --mount /data/postgres --fs btrfs`' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand up" -l erase -d 'Erase the one volume that is named, once, though it was refused: VOLUME is its volume id, serial or UUID, as the refusal says it. No config can say this' -r
complete -c volinit -n "__fish_volinit_using_subcommand up" -l deadline -d 'Wait this long for what has to come, in place of each `timeout` of the config: 90s, 5min' -r
complete -c volinit -n "__fish_volinit_using_subcommand up" -l mount -d 'Without a config: where to mount it' -r
complete -c volinit -n "__fish_volinit_using_subcommand up" -l fs -d 'Without a config: ext4, xfs or btrfs [default: ext4]' -r
complete -c volinit -n "__fish_volinit_using_subcommand up" -l label -d 'Without a config: the filesystem\'s label when it is made' -r
complete -c volinit -n "__fish_volinit_using_subcommand up" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand up" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand up" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_using_subcommand up" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_using_subcommand up" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l device -d 'Without a config: the device, as in `volinit up --device /dev/xvdb --mount /data/postgres --fs btrfs`' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l erase -d 'Erase the one volume that is named, once, though it was refused: VOLUME is its volume id, serial or UUID, as the refusal says it. No config can say this' -r
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l deadline -d 'Wait this long for what has to come, in place of each `timeout` of the config: 90s, 5min' -r
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l mount -d 'Without a config: where to mount it' -r
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l fs -d 'Without a config: ext4, xfs or btrfs [default: ext4]' -r
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l label -d 'Without a config: the filesystem\'s label when it is made' -r
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand plan" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_using_subcommand plan" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_using_subcommand plan" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_using_subcommand grow" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand grow" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand grow" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_using_subcommand grow" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_using_subcommand grow" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_using_subcommand release" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand release" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand release" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_using_subcommand release" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_using_subcommand release" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_using_subcommand status" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand status" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand status" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_using_subcommand status" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_using_subcommand status" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_using_subcommand check" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand check" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand check" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_using_subcommand check" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_using_subcommand check" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_using_subcommand render" -l service -d 'In place of that the drop-in that binds SERVICE to the volume, with a folder there: postgres, redis, kafka, etcd, mysql, or any unit. The volume is the one named, that of the service\'s name, or the only one' -r
complete -c volinit -n "__fish_volinit_using_subcommand render" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand render" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand render" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_using_subcommand render" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_using_subcommand render" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_using_subcommand devices" -l config -d 'Read this file in place of those in /usr/lib, /etc and /run/volinit; repeated, later ones win' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand devices" -l root -d 'Take DIR for the root of the machine\'s files; the devices are those of this machine' -r -F
complete -c volinit -n "__fish_volinit_using_subcommand devices" -l json -d 'Print one JSON document on stdout'
complete -c volinit -n "__fish_volinit_using_subcommand devices" -s v -l verbose -d 'Tell each decision and its reason on stderr; twice: each command too'
complete -c volinit -n "__fish_volinit_using_subcommand devices" -s h -l help -d 'Print help'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "up" -d 'Attach, prepare, mount and publish the volumes, all at once; a second run does nothing'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "plan" -d 'Show what `up` would do, and why; touches nothing'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "grow" -d 'Only grow what is mounted; fails when it can\'t (for cfn-hup or a timer)'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "release" -d 'Take the metadata back, unmount and detach, for a planned move; what is not here is released already'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "status" -d 'Show what is declared beside what is there'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "check" -d 'Check the config, and show each error with its line'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "render" -d 'Print the units that a boot needs, or write them under --root DIR; touches no device'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "devices" -d 'List the block devices, what they carry, and whether each could be used'
complete -c volinit -n "__fish_volinit_using_subcommand help; and not __fish_seen_subcommand_from up plan grow release status check render devices help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
