# Containers of real runtimes, as the confined agent sees them: Podman's, and Docker's where it is installed. It is read by run.sh.

# last_of COLLECTOR: a bundle of this collector alone.
last_of() { rm -f b.tar.zst; sheaf bundle create --cluster edge --collector "$1" --output b.tar.zst; }
# has PATH PATTERN: all that a path of the last bundle matches, and what must stand in it.
has() {
    local path found=
    for path in $(sheaf bundle list b.tar.zst --node node-1 | grep -o "nodes/node-1/$1\$"); do
        if sheaf bundle cat b.tar.zst "$path" | tee /payload/seen | grep -q -- "$2"; then found=1; else cat /payload/seen; fi
    done
    [ -n "$found" ] || { sheaf bundle list b.tar.zst --node node-1; return 1; }
}
# No file of the last bundle has it.
nowhere() {
    local path
    for path in $(sheaf bundle list b.tar.zst --node node-1 | grep -o 'nodes/node-1/.*'); do
        if sheaf bundle cat b.tar.zst "$path" | grep -a -- "$1"; then echo "$path"; return 1; fi
    done
}

runtimes=
for runtime in podman docker; do
    if ! command -v $runtime >/dev/null; then continue; fi
    if $runtime info >/payload/last 2>&1; then runtimes+=" $runtime"; else skipped "containers of $runtime: $(tail -n 1 /payload/last)"; fi
done
if [ -n "$runtimes" ]; then
    # Programs without a kernel of their own: one, linked to nothing, and its names.
    mkdir -p image/bin && cp "$(command -v busybox)" image/bin/ && for name in sh sleep; do ln -s busybox image/bin/$name; done
    tar -C image -cf image.tar .
    # Podman sets limits and groups that the root of a container, which this guest may be, does not have to give.
    podman_may="--cgroups=disabled --ulimit nproc=1024 --ulimit nofile=1024 --log-driver=k8s-file" docker_may=
    for runtime in $runtimes; do
        may=${runtime}_may
        holds "$runtime: a container runs, and has a secret" eval "$runtime import image.tar of-a-test:1 && $runtime run -d --name of-$runtime \
            --network=none -e DB_PASSWORD=in-$runtime-environment ${!may} of-a-test:1 sh -c 'echo said-by-$runtime; echo password=said-by-$runtime-too; exec sleep 1000'"
        comes "$runtime: it says something" 20 eval "$runtime logs of-$runtime | grep -q said-by-$runtime"
    done
    holds "a bundle of containers is made" last_of containers
    for runtime in $runtimes; do
        holds "$runtime: its log is there" has "files/var/lib/.*\\.log" "said-by-$runtime"
        holds "$runtime: that it may not be asked is said, and what would open it" eval \
            "sheaf bundle cat b.tar.zst WARNINGS.txt | grep 'http/$runtime-containers.txt' | grep -q share/sheaf/container-access.conf"
    done
    open_by container-access.conf 1
    holds "a bundle is made with it" last_of containers
    for runtime in $runtimes; do
        holds "$runtime: its list names the container" has "http/$runtime-containers.txt" "of-$runtime"
        holds "$runtime: it says how it is" has "http/$runtime-info.txt" '[Cc]ontainer'
        holds "$runtime: how the container runs is there" has "commands/$runtime-inspect/[0-9a-f]*.txt" '"Running":true'
        holds "$runtime: its log is there without the secret" eval "has 'files/var/lib/.*\\.log' 'said-by-$runtime' && nowhere said-by-$runtime-too"
        holds "$runtime: nowhere is what its environment has" nowhere "in-$runtime-environment"
    done
    rm /etc/systemd/system/$agent.d/container-access.conf; systemctl daemon-reload; systemctl restart $agent
    comes "without the drop-in it is connected" 30 online node-1
    for runtime in $runtimes; do $runtime rm -f -t 0 of-$runtime >/dev/null 2>&1 || $runtime rm -f of-$runtime >/dev/null; done
fi
