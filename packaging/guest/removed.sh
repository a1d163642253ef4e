# The debs: removed, purged. It is read by run.sh.

holds "sheaf-agent is removed" apt-get remove -y -q sheaf-agent
holds "it is stopped" not systemctl is-active $agent
holds "nothing of it runs" not pgrep -u sheaf-agent
holds "its state and configuration stay" test -e /var/lib/sheaf-agent/agent-secret.json -a -e /etc/sheaf/agent.toml
holds "all is purged" apt-get purge -y -q sheaf-agent sheaf-coordinator sheaf
holds "the coordinator is stopped" not systemctl is-active $coordinator
for left in /var/lib/sheaf-agent /var/lib/sheaf-coordinator /etc/sheaf /usr/bin/sheaf /usr/bin/sheaf-agent /usr/share/sheaf; do
    holds "$left is gone" test ! -e $left
done
