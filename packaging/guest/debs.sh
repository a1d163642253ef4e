# The debs: installed, joined, killed, hung, reloaded, upgraded. It is read by run.sh.

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
inventory debs >installed-by-debs
holds "the configuration that is there is the sample" cmp /etc/sheaf/agent.toml /usr/share/sheaf/agent.toml

# --- coordinator, joining ---------------------------------------------------------------------------
runuser -u sheaf-coordinator -- sheaf coordinator init --json >/payload/init || failed "coordinator init"
SHEAF_PASSWORD=$(sed -n 's/.*"password":"\([^"]*\)".*/\1/p' /payload/init); export SHEAF_PASSWORD
holds "the coordinator starts" systemctl enable --now $coordinator
export SHEAF_URL=https://127.0.0.1:25555 SHEAF_CA=/var/lib/sheaf-coordinator/ca.pem SHEAF_USER=admin
sheaf cluster create edge && sheaf cluster access-info edge --output edge.json || failed "access info"
holds "a node joins" sheaf-agent join edge.json --name node-1
holds "the agent starts" systemctl start $agent
comes "it is connected" 30 online node-1
holds "it is the program that has nothing but the agent" test "$(readlink "/proc/$(pid $agent)/exe")" = /usr/bin/sheaf-agent
holds "each service has its slice" eval "is $agent Slice sheaf-agent.slice && is $coordinator Slice sheaf-coordinator.slice"
holds "both can be bounded together" eval "systemctl set-property --runtime sheaf.slice MemoryMax=512M && is sheaf.slice MemoryMax $((512 << 20)) && is sheaf-agent.slice Slice sheaf.slice"
holds "it has a user of its own" test "$(ps -o user:20= -p "$(pid $agent)" | tr -d ' ')" = sheaf-agent

# --- a bundle ---------------------------------------------------------------------------------------
marker=marker-$RANDOM$RANDOM
holds "a bundle is made, and is complete" bundle "$marker"
holds "it verifies" sheaf bundle verify b.tar.zst
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
holds "beside the new sample" says '^# A newer sample' /usr/share/sheaf/agent.toml
holds "a configuration that nobody touched is the new sample" eval "says '^# A newer sample' /etc/sheaf/coordinator.toml && cmp /etc/sheaf/coordinator.toml /usr/share/sheaf/coordinator.toml"
comes "the agent is connected" 30 online node-1
