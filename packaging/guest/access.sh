# What an agent may see: by default, and with each drop-in that opens more. It is read by run.sh.

skipped_for() { sheaf bundle cat b.tar.zst WARNINGS.txt | grep "commands/$1.txt" | grep -q "/usr/share/sheaf/$2"; }
nft add table inet guest_test || failed "nft"
rm -f b.tar.zst
holds "a bundle of two collectors is made" sheaf bundle create --cluster edge --collector network --collector storage --output b.tar.zst
holds "it says why packet filters are skipped, and what would open them" skipped_for nft firewall-access.conf
holds "and why LVM is" skipped_for pvs storage-access.conf
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
