# What the parts of the test in the guest say what they hold with. It is read by run.sh.
agent=sheaf-agent.service coordinator=sheaf-coordinator.service

held=0
failed() { echo "not ok  $1"; systemctl status --no-pager -n 20 $agent 2>&1 | sed 's/^/    /'; exit 1; }
# holds TEXT COMMAND...: the command succeeds.
holds() { local text=$1; shift; if "$@" >/payload/last 2>&1; then held=$((held + 1)); echo "ok  $text"; else cat /payload/last; failed "$text"; fi; }
# skipped TEXT: it cannot be tried here, which is said.
skipped() { echo "skipped  $1"; }
# comes TEXT SECONDS COMMAND...: it succeeds within so many seconds.
comes() {
    local text=$1 until=$((SECONDS + $2)); shift 2
    until "$@" >/payload/last 2>&1; do
        [ $SECONDS -lt $until ] || { cat /payload/last; failed "$text"; }
        sleep 0.1
    done
    held=$((held + 1)); echo "ok  $text"
}
not() { ! "$@"; }
is() { [ "$(systemctl show -P "$2" "$1")" = "$3" ] || { echo "$2 is $(systemctl show -P "$2" "$1")"; false; }; }
pid() { systemctl show -P MainPID "$1"; }
another_pid() { [ "$(pid $1)" != "$2" ] && [ "$(pid $1)" != 0 ] && is $1 ActiveState active; }
says() { grep -q -- "$1" "$2"; }
get() { apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0 "$@"; }
restarts_by() { is $agent NRestarts "$1" && is $agent ActiveState active; }
# by_rpm ARGUMENT...: rpm on a Debian, which knows none of what packages need.
by_rpm() { rpm "$@" --nodeps --force-debian; }

# inventory debs|rpms: every file of the packages that are installed: whose, where, mode, owner, and what is in it. What the two kinds
# must have different is left out or called the same.
inventory() {
    local package file
    for package in sheaf sheaf-agent sheaf-coordinator; do
        if [ "$1" = debs ]; then dpkg -L $package; else rpm -ql $package; fi | while read -r file; do
            [ -f "$file" ] || continue
            case $file in
                # A licence stands in each kind's own place, and changes and lint are known to debs alone.
                /usr/share/doc/*/copyright|/usr/share/doc/*/changelog*|/usr/share/lintian/*|/usr/share/licenses/*) continue;;
            esac
            # dpkg knows no configuration here: it is made from the sample. rpm knows it, and needs no sample.
            printf '%s %s %s %s\n' $package "$(echo "${file%.gz}" | sed 's#^/lib/#/usr/lib/#; s#/vendor-completions/#/site-functions/#; s#^/etc/sheaf/#/usr/share/sheaf/#')" \
                "$(stat -c '%a %U:%G' "$file")" "$(case $file in *.gz) zcat "$file";; *) cat "$file";; esac | sha256sum | cut -d' ' -f1)"
        done
    done | sort
}

# --- of a coordinator and its nodes
online() { sheaf node show "$1" | grep -q 'state *online'; }
bundle() {
    echo "$1" | systemd-cat -t guest-test; journalctl --sync
    rm -f b.tar.zst
    sheaf bundle create --cluster edge --output b.tar.zst
}
# taken NAME: what a command of the last bundle printed.
taken() { sheaf bundle cat b.tar.zst "nodes/node-1/commands/$1.txt"; }
journal_has() {
    local path
    for path in $(sheaf bundle list b.tar.zst --node node-1 | grep -o 'nodes/node-1/journal/[^[:space:]]*'); do
        if sheaf bundle cat b.tar.zst "$path" | grep -aq "$1"; then return 0; fi
    done
    sheaf bundle list b.tar.zst; return 1
}
# granted NUMBER: the agent has this capability.
granted() { local have; have=$(sed -n 's/^CapAmb:\t//p' "/proc/$(pid $agent)/status"); [ $((0x$have >> $1 & 1)) = 1 ]; }
# open_by FILE NUMBER: the agent is opened by a drop-in, which gives it this capability.
open_by() {
    holds "$1 is there" install -D -m 0644 /usr/share/sheaf/$1 /etc/systemd/system/$agent.d/$1
    systemctl daemon-reload; systemctl restart $agent
    comes "with $1 it is connected" 30 online node-1
    holds "it has capability $2" granted "$2"
}
