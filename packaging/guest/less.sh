# An agent that may see less, and one that has its secret from systemd's credential. It is read by run.sh.

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
