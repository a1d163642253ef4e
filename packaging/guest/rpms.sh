# The rpms, by Debian's rpm and this systemd: the same files as the debs', installed, upgraded, erased. It is read by run.sh.

holds "rpm: the packages install" by_rpm -i 1/*.rpm
holds "rpm: every file is as it was packed" rpm -V --nodeps sheaf sheaf-agent sheaf-coordinator
inventory rpms >installed-by-rpms
holds "rpm: the same files as the debs': content, modes and owners" diff installed-by-debs installed-by-rpms
# Which glibc each kind asks for: an rpm by the symbols' versions, a deb by the package's.
for package in sheaf sheaf-agent; do
    by_deb=$(dpkg-deb -f 1/${package}_*.deb Depends | sed -n 's/.*libc6 (>= \([0-9.]*\)).*/\1/p')
    asked=$(rpm -q --requires $package | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    holds "rpm: $package needs no newer glibc than the deb says" eval "[ -n '$asked' ] && dpkg --compare-versions '${asked#GLIBC_}' le '$by_deb'"
done
holds "rpm: the agent is enabled, and not running" eval "systemctl is-enabled $agent && not systemctl is-active $agent"
holds "rpm: it says what to do" eval "systemctl start $agent; systemctl status --no-pager $agent | grep -q 'sheaf-agent join'"
runuser -u sheaf-coordinator -- sheaf coordinator init --json >/payload/init || failed "coordinator init"
SHEAF_PASSWORD=$(sed -n 's/.*"password":"\([^"]*\)".*/\1/p' /payload/init)
holds "rpm: the coordinator starts" systemctl enable --now $coordinator
sheaf cluster create edge && sheaf cluster access-info edge --output edge-rpm.json || failed "access info"
holds "rpm: a node joins" sheaf-agent join edge-rpm.json --name node-1
systemctl start $agent
comes "rpm: it is connected" 30 online node-1
was=$(pid $agent) theirs=$(pid $coordinator); cp /etc/sheaf/agent.toml edited
holds "rpm: an upgrade goes through" by_rpm -U 2/*.rpm
comes "rpm: the agent was restarted" 20 another_pid $agent "$was"
comes "rpm: the coordinator too" 20 another_pid $coordinator "$theirs"
holds "rpm: the edited configuration is kept" cmp /etc/sheaf/agent.toml edited
holds "rpm: the new one lies beside it" says '^# A newer sample' /etc/sheaf/agent.toml.rpmnew
holds "rpm: a configuration that nobody touched is the new one" says '^# A newer sample' /etc/sheaf/coordinator.toml
comes "rpm: the agent is connected" 30 online node-1
holds "rpm: all is erased" by_rpm -e sheaf-agent sheaf-coordinator sheaf
holds "rpm: the agent is stopped" not systemctl is-active $agent
holds "rpm: nothing of it runs" eval "not pgrep -u sheaf-agent && not pgrep -u sheaf-coordinator"
holds "rpm: nothing is left enabled" eval "not systemctl is-enabled $agent && not systemctl is-enabled $coordinator"
holds "rpm: what was edited is kept aside" cmp /etc/sheaf/agent.toml.rpmsave edited
holds "rpm: the node's identity stays" test -e /var/lib/sheaf-agent/agent-secret.json
for left in /usr/bin/sheaf /usr/bin/sheaf-agent /usr/share/sheaf /usr/share/doc/sheaf /usr/share/licenses/sheaf{,-agent} /etc/sheaf/coordinator.toml; do
    holds "rpm: $left is gone" test ! -e $left
done
