# Run as root in the guest of packaging/boot-test: what an operator does with the packages, and what must come of it.
set -u
cd /payload
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root
agent=sheaf-agent.service coordinator=sheaf-coordinator.service

held=0
failed() { echo "not ok  $1"; systemctl status --no-pager -n 20 $agent 2>&1 | sed 's/^/    /'; exit 1; }
# holds TEXT COMMAND...: the command succeeds.
holds() { local text=$1; shift; if "$@" >/payload/last 2>&1; then held=$((held + 1)); echo "ok  $text"; else cat /payload/last; failed "$text"; fi; }
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

# --- installed, and nobody has joined ---------------------------------------------------------------
holds "a node needs sheaf-agent alone" get ./1/sheaf-agent_*.deb
holds "which brings no other program" eval "sheaf-agent --version && not command -v sheaf"
holds "there are its man pages and completions" test -s /usr/share/man/man1/sheaf-agent-run.1.gz -a \
    -s /usr/share/man/man5/sheaf-agent.toml.5.gz -a -s /usr/share/bash-completion/completions/sheaf-agent
holds "an agent without a secret is stopped" is $agent ActiveState inactive
holds "it has not failed, and is not started again and again" eval "is $agent Result exec-condition && is $agent NRestarts 0"
holds "it is enabled" systemctl is-enabled $agent
systemctl status --no-pager $agent >/payload/status-text
holds "systemctl status says what to do" says 'sheaf-agent join' /payload/status-text
holds "nothing of it is in the list of failed units" eval "not says sheaf <(systemctl --failed --plain)"
holds "sheaf and sheaf-coordinator install beside it" get ./1/*.deb
holds "a coordinator is not enabled unasked" not systemctl is-enabled $coordinator
holds "there are man pages of verbs and files, and completions" test -s /usr/share/man/man1/sheaf-bundle-create.1.gz -a \
    -s /usr/share/man/man5/sheaf-bundle.5.gz -a -s /usr/share/bash-completion/completions/sheaf
holds "the configuration that is there is the sample" cmp /etc/sheaf/agent.toml /usr/share/sheaf/agent.toml

# --- coordinator, joining ---------------------------------------------------------------------------
runuser -u sheaf-coordinator -- sheaf coordinator init --json >/payload/init || failed "coordinator init"
SHEAF_PASSWORD=$(sed -n 's/.*"password":"\([^"]*\)".*/\1/p' /payload/init); export SHEAF_PASSWORD
holds "the coordinator starts" systemctl enable --now $coordinator
export SHEAF_URL=https://127.0.0.1:25555 SHEAF_CA=/var/lib/sheaf-coordinator/ca.pem SHEAF_USER=admin
sheaf cluster create edge && sheaf cluster access-info edge --output edge.json || failed "access info"
holds "a node joins" sheaf-agent join edge.json --name node-1
holds "the agent starts" systemctl start $agent
online() { sheaf node show "$1" | grep -q 'state *online'; }
comes "it is connected" 30 online node-1
holds "it is the program that has nothing but the agent" test "$(readlink "/proc/$(pid $agent)/exe")" = /usr/bin/sheaf-agent
holds "each service has its slice" eval "is $agent Slice sheaf-agent.slice && is $coordinator Slice sheaf-coordinator.slice"
holds "both can be bounded together" eval "systemctl set-property --runtime sheaf.slice MemoryMax=512M && is sheaf.slice MemoryMax $((512 << 20)) && is sheaf-agent.slice Slice sheaf.slice"
holds "it has a user of its own" test "$(ps -o user:20= -p "$(pid $agent)" | tr -d ' ')" = sheaf-agent

# --- a bundle ---------------------------------------------------------------------------------------
marker=marker-$RANDOM$RANDOM
bundle() {
    echo "$1" | systemd-cat -t guest-test; journalctl --sync
    rm -f b.tar.zst
    sheaf bundle create --cluster edge --output b.tar.zst
}
holds "a bundle is made, and is complete" bundle "$marker"
holds "it verifies" sheaf bundle verify b.tar.zst
journal_has() {
    local path
    for path in $(sheaf bundle list b.tar.zst --node node-1 | grep -o 'nodes/node-1/journal/[^[:space:]]*'); do
        if sheaf bundle cat b.tar.zst "$path" | grep -aq "$1"; then return 0; fi
    done
    sheaf bundle list b.tar.zst; return 1
}
holds "it holds the guest's journal up to now" journal_has "$marker"

# --- killed, hung -----------------------------------------------------------------------------------
was=$(pid $agent); kill -9 "$was"
comes "killed with -9, it is started again" 20 eval "restarts_by 1 && another_pid $agent $was"
comes "and is connected again" 30 online node-1
mkdir -p /run/systemd/system/$agent.d
printf '[Service]\nWatchdogSec=3s\n' >/run/systemd/system/$agent.d/short.conf
systemctl daemon-reload; systemctl restart $agent
comes "with a short watchdog it is connected" 30 online node-1
was=$(pid $agent); kill -STOP "$was"
comes "hung, it is ended by the watchdog and started again" 40 eval "restarts_by 1 && another_pid $agent $was"
holds "which the journal says" eval "journalctl -u $agent -b --no-pager | grep -q 'Watchdog timeout'"
rm /run/systemd/system/$agent.d/short.conf; systemctl daemon-reload; systemctl restart $agent
comes "it is connected again" 30 online node-1

# --- reload -----------------------------------------------------------------------------------------
was=$(pid $agent)
sed -i '1i collect = "off"' /etc/sheaf/agent.toml
holds "systemctl reload takes a new configuration" systemctl reload $agent
refused() { bundle x; sheaf bundle cat b.tar.zst WARNINGS.txt | grep -q 'off'; }
comes "an order is refused from then on, with the reason" 30 refused
holds "without a restart" test "$(pid $agent)" = "$was"
sed -i '/^collect = /d' /etc/sheaf/agent.toml
systemctl reload $agent
comes "and followed again" 30 bundle "$marker"
was=$(pid $coordinator)
echo '127.0.0.1 sheaf.guest' >>/etc/hosts
by_its_new_name() { SHEAF_URL=https://sheaf.guest:25555 sheaf node list; }
holds "the coordinator's certificate is not good for another name" not by_its_new_name
sed -i '1i names = ["sheaf.guest"]' /etc/sheaf/coordinator.toml
holds "the coordinator reloads" systemctl reload $coordinator
comes "and is reached by the new name, with a new certificate" 20 by_its_new_name
holds "without a restart, either" test "$(pid $coordinator)" = "$was"
sed -i -e '1i nmaes = []' -e '/^names = /d' /etc/sheaf/coordinator.toml
holds "a coordinator with a misspelt key does not start" not systemctl restart $coordinator
holds "and is not tried again and again" eval "is $coordinator ActiveState failed && is $coordinator ExecMainStatus 78"
systemctl status --no-pager $coordinator >/payload/status-text
holds "systemctl status says which key" says 'did you mean .names' /payload/status-text
sed -i '/^nmaes = /d' /etc/sheaf/coordinator.toml
holds "it starts when that is mended" systemctl restart $coordinator
comes "and the agent is connected again" 60 online node-1

# --- upgrade ----------------------------------------------------------------------------------------
printf '\n# edited by hand\n' >>/etc/sheaf/agent.toml
cp /etc/sheaf/agent.toml edited
was=$(pid $agent) theirs=$(pid $coordinator)
holds "an upgrade goes through without a question" get ./2/*.deb
holds "it is the new one" eval "dpkg-query -Wf '\${Version}' sheaf-agent | grep -q -- '-2$'"
comes "the agent was restarted" 20 another_pid $agent "$was"
comes "the coordinator too" 20 another_pid $coordinator "$theirs"
holds "the edited configuration is kept" cmp /etc/sheaf/agent.toml edited
holds "a configuration that nobody touched is the new sample" cmp /etc/sheaf/coordinator.toml /usr/share/sheaf/coordinator.toml
comes "the agent is connected" 30 online node-1

# --- with drop-ins that open more -------------------------------------------------------------------
granted() { local have; have=$(sed -n 's/^CapAmb:\t//p' "/proc/$(pid $agent)/status"); [ $((0x$have >> $1 & 1)) = 1 ]; }
skipped_for() { sheaf bundle cat b.tar.zst WARNINGS.txt | grep "commands/$1.txt" | grep -q "/usr/share/sheaf/$2"; }
taken() { sheaf bundle cat b.tar.zst "nodes/node-1/commands/$1.txt"; }
nft add table inet guest_test || failed "nft"
rm -f b.tar.zst
holds "a bundle of two collectors is made" sheaf bundle create --cluster edge --collector network --collector storage --output b.tar.zst
holds "it says why packet filters are skipped, and what would open them" skipped_for nft firewall-access.conf
holds "and why LVM is" skipped_for pvs storage-access.conf
open_by() {
    holds "$1 is there" install -D -m 0644 /usr/share/sheaf/$1 /etc/systemd/system/$agent.d/$1
    systemctl daemon-reload; systemctl restart $agent
    comes "with $1 it is connected" 30 online node-1
    holds "it has capability $2" granted "$2"
}
open_by container-access.conf 1
open_by firewall-access.conf 12
open_by storage-access.conf 3
holds "it sees the host's devices" is $agent PrivateDevices no
rm -f b.tar.zst
holds "a bundle is made with them" sheaf bundle create --cluster edge --collector network --collector storage --output b.tar.zst
holds "which has the packet filter" eval "taken nft | grep -q guest_test"
holds "and what LVM says" taken pvs
rm /etc/systemd/system/$agent.d/*-access.conf; systemctl daemon-reload; systemctl restart $agent
comes "without them it is as before" 30 eval "online node-1 && not granted 12"

# --- without CAP_DAC_READ_SEARCH, and with a credential ---------------------------------------------
may() { local have; have=$(sed -n 's/^CapEff:\t//p' "/proc/$(pid $agent)/status"); [ $((0x$have >> 2 & 1)) = "$1" ]; }
holds "by default it may read what root may" may 1
install -D -m 0644 /usr/share/sheaf/group-access.conf /etc/systemd/system/$agent.d/group-access.conf
systemctl daemon-reload; systemctl restart $agent
comes "with the drop-in for group access it is connected" 30 online node-1
holds "it may read what its groups may, and no more" may 0
holds "a bundle is still complete" bundle "$marker-2"
holds "and holds the journal" journal_has "$marker-2"
sheaf secret create node-2 --output node-2.secret || failed "a secret"
systemctl stop $agent
rm -rf /var/lib/sheaf-agent/* && install -D -m 0600 node-2.secret /etc/credstore/sheaf-agent-secret
holds "it starts with systemd's credential alone" systemctl start $agent
comes "and is whom that names" 30 online node-2
rm /etc/credstore/sheaf-agent-secret /etc/systemd/system/$agent.d/group-access.conf

# --- removed, purged --------------------------------------------------------------------------------
holds "sheaf-agent is removed" apt-get remove -y -q sheaf-agent
holds "it is stopped" not systemctl is-active $agent
holds "nothing of it runs" not pgrep -u sheaf-agent
holds "its state and configuration stay" test -e /var/lib/sheaf-agent/agent-secret.json -a -e /etc/sheaf/agent.toml
holds "all is purged" apt-get purge -y -q sheaf-agent sheaf-coordinator sheaf
holds "the coordinator is stopped" not systemctl is-active $coordinator
for left in /var/lib/sheaf-agent /var/lib/sheaf-coordinator /etc/sheaf /usr/bin/sheaf /usr/bin/sheaf-agent /usr/share/sheaf; do
    holds "$left is gone" test ! -e $left
done

# --- rpm --------------------------------------------------------------------------------------------
rpms=(1/*.rpm)
if [ -e "${rpms[0]}" ]; then
    by_rpm() { rpm "$@" --nodeps --force-debian; }
    holds "rpm: the packages install" by_rpm -i 1/*.rpm
    holds "rpm: the agent is enabled, and not running" eval "systemctl is-enabled $agent && not systemctl is-active $agent"
    holds "rpm: it says what to do" eval "systemctl start $agent; systemctl status --no-pager $agent | grep -q 'sheaf-agent join'"
    runuser -u sheaf-coordinator -- sheaf coordinator init --json >/payload/init || failed "coordinator init"
    SHEAF_PASSWORD=$(sed -n 's/.*"password":"\([^"]*\)".*/\1/p' /payload/init)
    holds "rpm: the coordinator starts" systemctl enable --now $coordinator
    sheaf cluster create edge && sheaf cluster access-info edge --output edge-rpm.json || failed "access info"
    holds "rpm: a node joins" sheaf-agent join edge-rpm.json --name node-1
    systemctl start $agent
    comes "rpm: it is connected" 30 online node-1
    was=$(pid $agent); cp /etc/sheaf/agent.toml edited
    holds "rpm: an upgrade goes through" by_rpm -U 2/*.rpm
    comes "rpm: the agent was restarted" 20 another_pid $agent "$was"
    holds "rpm: the edited configuration is kept" cmp /etc/sheaf/agent.toml edited
    holds "rpm: all is erased" by_rpm -e sheaf-agent sheaf-coordinator sheaf
    holds "rpm: the agent is stopped" not systemctl is-active $agent
    holds "rpm: what was edited is kept aside" test -e /etc/sheaf/agent.toml.rpmsave
fi
echo "$held held"
