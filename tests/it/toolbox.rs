//! The toolbox: a shell and everyday commands, as an image, in other people's containers, and at a terminal.

use std::process::Stdio;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, DeleteParams, LogParams, TerminalSize};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use testkit::TestCluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kubectl::Kubectl;
use crate::process::text;
use crate::support::{apply_text, pod_until, told, with_samples};

/// So many commands run at once.
const AT_ONCE: usize = 8;

const PODS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { colour: blue }
---
apiVersion: v1
kind: Pod
metadata: { name: box }
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{ name: shared, emptyDir: {} }, { name: settings, configMap: { name: settings } }]
  containers:
    - name: box
      image: busybox:1.36
      command: [sh, -c, 'trap "exit 0" TERM; echo "$GREETING, I am $(hostname)"; sleep infinity & wait']
      env: [{ name: GREETING, value: hello }]
      resources: { limits: { memory: 48Mi } }
      volumeMounts: [{ name: shared, mountPath: /shared }, { name: settings, mountPath: /settings }]
    - name: other
      image: docker.io/library/busybox
      args: [sleep, "3600"]
      volumeMounts: [{ name: shared, mountPath: /shared, readOnly: true }]
---
apiVersion: v1
kind: Pod
metadata: { name: web, labels: { app: web } }
spec:
  containers: [{ name: web, image: coracle.local/hello, imagePullPolicy: IfNotPresent, ports: [{ containerPort: 80 }] }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
"#;

async fn with_pods() -> TestCluster {
    let cluster = with_samples(&["hello"]).await;
    apply_text(&cluster, PODS).await.unwrap();
    for pod in ["box", "web"] {
        pod_until(&cluster, pod, "it is ready", |pod| {
            let conditions = pod.pointer("/status/conditions")?.as_array()?;
            conditions.iter().any(|row| row["type"] == "Ready" && row["status"] == "True").then_some(())
        })
        .await;
    }
    cluster
}

async fn pods(cluster: &TestCluster) -> Api<Pod> {
    let kubeconfig = Kubeconfig::read_from(cluster.cluster().kubeconfig().unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Api::default_namespaced(kube::Client::try_from(config).unwrap())
}

/// What a command prints on both streams, and its exit code.
async fn exec(pods: &Api<Pod>, pod: &str, container: &str, command: &[&str]) -> (String, String, i32) {
    let params = AttachParams::default().container(container);
    let mut process = pods.exec(pod, command.iter().copied(), &params).await.unwrap();
    let (mut stdout, mut stderr) = (process.stdout().unwrap(), process.stderr().unwrap());
    let (mut out, mut error) = (String::new(), String::new());
    let status = process.take_status().unwrap();
    let (read, read_too, status) =
        tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut error), status);
    read.and(read_too).unwrap();
    let status = status.unwrap();
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let code = causes.and_then(|causes| causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode")));
    (out, error, code.map_or(0, |cause| cause.message.as_ref().unwrap().parse().unwrap()))
}

/// Runs each script in a folder of its own, and compares what it prints and its exit code.
async fn scripts(pods: &Api<Pod>, rows: &[(&str, &str, i32)]) {
    let runs = rows.iter().enumerate().map(async |(number, (script, wanted, code))| {
        let whole = format!("mkdir /tmp/{number} && cd /tmp/{number}\n{script}");
        let (out, error, found) = exec(pods, "box", "box", &["sh", "-c", &whole]).await;
        assert_eq!((out.as_str(), found), (*wanted, *code), "{script}\n{error}");
    });
    futures::stream::iter(runs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    exec(pods, "box", "box", &["sh", "-c", "rm -r /tmp/*"]).await;
}

/// The language, as POSIX has it.
const LANGUAGE: &[(&str, &str, i32)] = &[
    // Quoting and splitting.
    (r#"x='a  b'; echo $x "$x" '$x' \$x ${x}c"#, "a b a  b $x $x a bc\n", 0),
    (r#"echo "it's" 'say "hi"' a\ b "$(echo "in $(echo deep)")" `echo back`"#, "it's say \"hi\" a b in deep back\n", 0),
    (r#"IFS=:; x=a:b::c; for p in $x; do echo "<$p>"; done"#, "<a>\n<b>\n<>\n<c>\n", 0),
    (
        r#"set -- 'a b' c; for i in "$@"; do echo "[$i]"; done; echo "$# $*"; shift; echo $1"#,
        "[a b]\n[c]\n2 a b c\nc\n",
        0,
    ),
    ("touch ab ac b; echo a* '*' [!a] nothing*", "ab ac * b nothing*\n", 0),
    // Parameters.
    ("unset x; echo ${x-unset} ${x:-none} ${x:+set} ${x:=given} $x ${#x}", "unset none given given 5\n", 0),
    (
        "f=dir/sub/name.tar.gz; echo ${f##*/} ${f%/*} ${f%%.*} ${f#*/} ${f%.gz}",
        "name.tar.gz dir/sub dir/sub/name sub/name.tar.gz dir/sub/name.tar\n",
        0,
    ),
    ("echo ${missing:?is needed}; echo not here", "", 2),
    ("set -u; echo $missing; echo not here", "", 2),
    (r#"x='a b'; echo "${x:-"no"} ${y:-"two  words"}" ${y:-"$x"}"#, "a b two  words a b\n", 0),
    // Lists and their codes.
    (
        "false || echo or; true && echo and; ! false; echo $?; (exit 3); echo $?; false | true; echo $?",
        "or\nand\n0\n3\n0\n",
        0,
    ),
    ("set -o pipefail; false | true", "", 1),
    ("nosuchcommand; echo $?; ./nosuch; echo $?; exit 42", "127\n127\n", 42),
    ("set -e; false || true; if false; then :; fi; echo on; false; echo not here", "on\n", 1),
    ("x=$(exit 3); echo $?", "3\n", 0),
    ("x=1; (x=2; echo $x); { x=3; }; echo $x; echo 4 | read x; echo $x", "2\n3\n3\n", 0),
    // Compound commands.
    ("for i in 1 2 3 4; do [ $i = 2 ] && continue; [ $i = 4 ] && break; echo $i; done", "1\n3\n", 0),
    ("i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; until [ $i -eq 0 ]; do i=$((i-1)); done; echo $i", "0\n", 0),
    ("for i in a b; do for j in 1 2; do [ $j = 2 ] && continue 2; echo $i$j; done; done", "a1\nb1\n", 0),
    ("if false; then echo 1; elif true; then echo 2; else echo 3; fi", "2\n", 0),
    (
        "for w in apple banana 7 -; do case $w in a*|b*) echo fruit;; [0-9]) echo digit;; *) echo other;; esac; done",
        "fruit\nfruit\ndigit\nother\n",
        0,
    ),
    ("f() { local v=in; echo \"$1 $# $v\"; return 3; }; v=out; f a 'b c'; echo $? $v", "a 2 in\n3 out\n", 0),
    ("f() { if [ $1 -le 1 ]; then echo 1; else echo $(($1 * $(f $(($1-1))))); fi; }; f 6", "720\n", 0),
    // Arithmetic.
    (
        "x=3; echo $((1+2*x)) $((x<<2)) $((x>2&&x<4)) $((7/2)) $((-7%3)) $((x?8:9)) $((0x1f)) $((x+=4)) $x",
        "7 12 1 3 -1 8 31 7 7\n",
        0,
    ),
    // Redirections.
    ("echo a > f; echo b >> f; cat < f; ls missing 2>/dev/null; ls missing 2>&1 | wc -l", "a\nb\n1\n", 0),
    ("{ echo out; echo err >&2; } 2>&1 | sort; exec 3>g; echo three >&3; exec 3>&-; cat g", "err\nout\nthree\n", 0),
    ("x=5; cat <<END; cat <<'END'\nx is $x and $((x+1))\nEND\n$x `x`\nEND", "x is 5 and 6\n$x `x`\n", 0),
    ("cat <<-END | tr a-z A-Z\n\tindented\n\tEND", "INDENTED\n", 0),
    ("printf '1 2 3\\n4 5\\n' | while read a rest; do echo \"$rest-$a\"; done", "2 3-1\n5-4\n", 0),
    // Jobs, traps, the rest of the built-in commands.
    ("(sleep 0.02; exit 5) & wait $!; echo $?; sleep 60 & kill $!; wait $!; echo $?", "5\n143\n", 0),
    ("trap 'echo bye' EXIT; echo hi; exit 4", "hi\nbye\n", 4),
    ("trap 'echo caught' TERM; kill -TERM $$; echo on; trap - TERM; kill $$; echo not here", "caught\non\n", 143),
    ("while getopts n:v o -n 5 -v; do echo $o$OPTARG; done; echo $OPTIND", "n5\nv\n4\n", 0),
    (
        "export A=1; B=2 sh -c 'echo $A$B $0 $1' name arg; echo \"${B-gone}\"; readonly R=1; eval 'echo $R'",
        "12 name arg\ngone\n1\n",
        0,
    ),
    (
        "echo 'echo script $1; exit 9' > s.sh; sh s.sh x; echo $?; ./s.sh y; echo $?; . ./s.sh",
        "script x\n9\nscript y\n9\nscript\n",
        9,
    ),
    ("cd /; cd /tmp; cd - ; echo $PWD $OLDPWD; cd /missing || echo $?", "/\n/ /tmp\n2\n", 0),
    ("if true; then echo unfinished", "", 2),
];

/// The commands, each at least once.
const COMMANDS: &[(&str, &str, i32)] = &[
    (
        "mkdir -p a/b; touch a/f a/b/g; ls a; ls -a a | head -2; ls -ld a | cut -c1; ls missing; echo $?",
        "b\nf\n.\n..\nd\n1\n",
        0,
    ),
    ("mkdir d; ln -s d l; ls -la l/ | grep ' [.]*$' | cut -c1; ls -l | grep -c 'l -> d'", "d\nd\n1\n", 0),
    (
        "printf 'ab cd' > x; printf 'ef gh\\n' > y; cut -d' ' -f2 x y missing; echo $?; rev x y; fold -w 3 x y; nl -w1 -s: y x; cat -n x missing y",
        "cd\ngh\n1\ndc ba\nhg fe\nab \ncd\nef \ngh\n1:ef gh\n2:ab cd     1\tab cd     2\tef gh\n",
        1,
    ),
    (
        "printf 'b 2\\na 1\\nc 3\\n' > t; cat t | head -n 1; tail -n 1 t; tail -n +2 t | wc -l; head -n -2 t; tac t | head -1",
        "b 2\nc 3\n2\nb 2\nc 3\n",
        0,
    ),
    (
        "printf 'b 2\\na 1\\na 1\\n' > t; sort t | uniq -c | tr -s ' '; sort -k2 -rn -u t; cut -d' ' -f2 t | paste -s -d, -",
        " 2 a 1\n 1 b 2\nb 2\na 1\n2,1,1\n",
        0,
    ),
    (
        "printf 'one\\nTwo\\nthree\\n' > g; grep -i t g; grep -vc o g; grep -nE '^(o|t)' g; grep -q four g; echo $?; grep -rl Two .; echo a1b22 | grep -oE '[0-9]+'",
        "Two\nthree\n1\n1:one\n3:three\n1\n./g\n1\n22\n",
        0,
    ),
    (
        "mkdir -p d/e; echo x > d/a.txt; echo y > d/e/b.txt; find d -name '*.txt' -type f | sort; find d -type d -exec echo dir {} \\; | sort; find d -name a.txt -delete; find d -type f | xargs cat",
        "d/a.txt\nd/e/b.txt\ndir d\ndir d/e\ny\n",
        0,
    ),
    ("env -i A=1 B=2 env; env C=3 sh -c 'echo $C'; printenv GREETING; echo $HOME", "A=1\nB=2\n3\nhello\n/root\n", 0),
    (
        "echo 'foo bar' | sed -E 's/(\\w+) (\\w+)/\\2 \\1/'; seq 3 | sed -n '2p;$p'; seq 4 | sed '2,3d'; echo k=v > c; sed -i 's/v/w/' c; cat c",
        "bar foo\n2\n3\n1\n4\nk=w\n",
        0,
    ),
    (
        "printf '%s-%03d|%x\\n' a 5 255 b 6 16; echo -n no; echo -e '\\tyes'; echo hello | tr a-y b-z; echo aabb | tr -s ab; echo abc | rev",
        "a-005|ff\nb-006|10\nno\tyes\nifmmp\nab\ncba\n",
        0,
    ),
    (
        "echo 1 > a; cp a b; mv b c; ln -s c l; cat l; readlink l; mkdir x; cp -r x y; rm -r x y a; ls; rmdir missing 2>/dev/null; echo $?",
        "1\nc\nc\nl\n1\n",
        0,
    ),
    (
        "test -d /tmp -a ! -f /missing; echo $?; [ 2 -gt 10 ]; echo $?; [ a = a ] && [ -n b ] && echo yes; [ -s /etc/hosts ]; echo $?; [ -e /dev/null ]; echo $?",
        "0\n1\nyes\n0\n0\n",
        0,
    ),
    (
        "mkdir s; echo x > s/f; tar cf a.tar s; tar tf a.tar; tar czf a.tgz -C s f; rm -r s; tar xf a.tar; cat s/f; tar xzf a.tgz; cat f; tar cf - missing | wc -c",
        "s/\ns/f\nx\nx\n0\n",
        0,
    ),
    (
        "echo hello | gzip | gunzip; echo hello | base64; echo hello | md5sum | cut -c1-8; echo hello | sha256sum | cut -c1-8",
        "hello\naGVsbG8K\nb1946ac9\n5891b5b5\n",
        0,
    ),
    (
        "basename /a/b.txt .txt; dirname /a/b/c; expr 6 \\* 7; seq 2 2 6 | xargs echo; date -u -d @86400 +%F; dd if=/dev/zero bs=100 count=3 2>/dev/null | wc -c",
        "b\n/a/b\n42\n2 4 6\n1970-01-02\n300\n",
        0,
    ),
    (
        "timeout 0.05 sleep 60; echo $?; yes | head -n 2; sleep 0.01; echo a | tee f; cat f; diff f f; echo $?; cmp -s f /etc/hosts; echo $?",
        "143\ny\ny\na\na\n0\n1\n",
        0,
    ),
    (
        "x='a b'; [[ $x == a* && ( -z '' || b == c ) ]] && echo wide; [[ web-12 =~ -([0-9]+)$ ]] && echo ${BASH_REMATCH[1]}; e=; [[ $e == '' ]] && echo none; echo in > f; echo $(< f)",
        "wide\n12\nnone\nin\n",
        0,
    ),
    (
        "hostname; id -u; whoami; cat /etc/hostname; hostname -i | grep -c '^10\\.'; which ls; uname -m; stty size",
        "box\n0\nroot\nbox\n1\n/bin/ls\nwasm32\n",
        1,
    ),
    (
        "nslookup web | tail -n 1 | cut -d. -f1; nslookup missing >/dev/null; echo $?; nc -z web 80 && echo open; nc -z web 81 || echo closed",
        "Address: 10\n1\nopen\nclosed\n",
        0,
    ),
    (
        "wget -qO- http://web/ | head -n 1; wget -q web -O page; grep -c Hello page; wget -qO- http://web.default.svc.cluster.local:80/ | head -c 5",
        "Hello from WebAssembly!\n1\nHello",
        0,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_and_everyday_commands_run_in_pods() {
    let cluster = with_pods().await;
    let pods = pods(&cluster).await;
    scripts(&pods, LANGUAGE).await;
    scripts(&pods, COMMANDS).await;

    // The image `busybox` is the toolbox; its output is the container's log.
    let of_box = LogParams { container: Some("box".to_owned()), ..LogParams::default() };
    assert_eq!(pods.logs("box", &of_box).await.unwrap(), "hello, I am box\n");

    // A container sees its own volumes, and may do with them what the container may.
    let sh = |container: &'static str, script: &'static str| {
        let pods = pods.clone();
        async move { exec(&pods, "box", container, &["sh", "-c", script]).await }
    };
    assert_eq!(sh("box", "echo kept > /shared/f; cat /settings/colour").await.0, "blue");
    let (out, error, code) = sh("other", "cat /shared/f; echo more >> /shared/f").await;
    assert_eq!((out.as_str(), code), ("kept\n", 1), "{error}");
    assert!(error.contains("can't create /shared/f: Read-only file system"), "{error}");
    let (_, error, code) = sh("box", "echo x > /settings/colour").await;
    assert!(code == 1 && error.contains("can't create /settings/colour"), "{code} {error}");
    assert_eq!(sh("other", "ls /settings; cat /shared/../../../etc/hostname").await.0, "box\n");

    // What it uses is the container's: past the limit it ends, and the container goes on.
    let (_, error, code) = sh("box", "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}").await;
    assert!(code == 137 && error.contains("memory limit of 50331648 bytes"), "{code} {error}");
    assert_eq!(sh("box", "echo on").await.0, "on\n");

    // In somebody else's container: the address and the files are that one's, the outside is denied.
    let (out, _, code) = exec(&pods, "web", "web", &["wget", "-qO-", "http://localhost/"]).await;
    assert!(code == 0 && out.contains("Hello from WebAssembly!"), "{out}");
    let (_, error, code) = exec(&pods, "web", "web", &["wget", "-qO-", "http://example.com/"]).await;
    assert!(code == 1 && error.contains("add the annotation  coracle.dev/egress: \"true\"  to the pod"), "{error}");
    told(&cluster, "web", "EgressDenied", "example.com").await;
    let (_, error, code) = exec(&pods, "web", "web", &["nosuch"]).await;
    assert_eq!(code, 127, "{error}");
    assert!(error.contains("exec: \"nosuch\": executable file not found in $PATH"), "{error}");
    // Its root is made once: nothing is written over a link that somebody has put there since.
    let script = "rm -r /etc && ln -s tmp /etc && ls /etc/ | wc -l";
    assert_eq!(exec(&pods, "web", "web", &["sh", "-c", script]).await.0, "0\n");
    assert_eq!(exec(&pods, "web", "web", &["ls", "/tmp"]).await.0, "");

    // It ends with the container.
    let (ended, ()) = tokio::join!(exec(&pods, "box", "box", &["sh", "-c", "echo up; sleep 600"]), async {
        pods.delete("box", &DeleteParams::default().grace_period(1)).await.unwrap();
    });
    assert!(ended.2 == 137 || ended.2 == 143, "{ended:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_copied_and_pods_debugged_with_kubectl() {
    let cluster = with_pods().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(folder.path().join("tree/deep")).unwrap();
    std::fs::write(folder.path().join("tree/deep/leaf"), b"green").unwrap();
    // More than any buffer on the way holds.
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(folder.path().join("tree/large"), &large).unwrap();
    kubectl.told(&format!("cp {} box:/shared/tree -c box", path("tree"))).await;
    kubectl.told(&format!("cp box:/shared/tree {} -c other", path("back"))).await;
    assert_eq!(std::fs::read(folder.path().join("back/deep/leaf")).unwrap(), b"green");
    assert!(std::fs::read(folder.path().join("back/large")).unwrap() == large);
    kubectl.told(&format!("cp {} web:/tmp/leaf", path("tree/deep/leaf"))).await;
    kubectl.table(&[("exec web -- cat /tmp/leaf", &["green"])]).await;
    let error = kubectl.refused(&format!("cp {} web:/nowhere/leaf", path("tree/deep/leaf"))).await;
    assert!(error.contains("can't change directory to '/nowhere': No such file or directory"), "{error}");

    for (line, typed, wanted, code) in [
        ("exec -i box -c box -- sh -c 'read x; echo got $x; exit 3'", "typed\n", "got typed\n", 3),
        (
            "run once -i --rm --quiet --restart=Never --image=busybox -- sh -c 'echo began; cat; exit 4'",
            "through\n",
            "began\nthrough\n",
            4,
        ),
        (
            "debug web -i --quiet --profile=general --image=busybox --target=web -- sh -c 'read x; wget -qO- localhost | head -n $x'",
            "1\n",
            "Hello from WebAssembly!\n",
            0,
        ),
        (
            "debug web -i --quiet --profile=general --image=busybox --copy-to=twin -- sh -c 'read x; wget -qO- localhost | head -n $x; sleep 600'",
            "1\n",
            "Hello from WebAssembly!\n",
            -1,
        ),
    ] {
        let mut child = kubectl.command(line);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(typed.as_bytes()).await.unwrap();
        drop(input);
        if code < 0 {
            // A copy goes on after its words.
            let mut heard = vec![0; wanted.len()];
            child.stdout.take().unwrap().read_exact(&mut heard).await.unwrap();
            assert_eq!(text(&heard), wanted, "{line}");
            child.kill().await.unwrap();
            continue;
        }
        let output = tokio::time::timeout(std::time::Duration::from_secs(60), child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("kubectl {line} does not end")).unwrap();
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((out.as_str(), output.status.code()), (wanted, Some(code)), "{line}\n{error}");
    }
    let status = "get pod twin -o jsonpath={.status.containerStatuses[*].state}";
    kubectl.until(status, "running").await;
    kubectl.table(&[("get pod twin -o jsonpath={.spec.containers[*].image}", &["coracle.local/hello busybox"])]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_types_at_a_terminal() {
    let cluster = with_pods().await;
    let pods = pods(&cluster).await;
    let params = AttachParams::default().container("box").stdin(true).stderr(false).tty(true);
    let mut process = pods.exec("box", ["sh"], &params).await.unwrap();
    let (mut keys, mut screen) = (process.stdin().unwrap(), process.stdout().unwrap());
    let mut sizes = process.terminal_size().unwrap();
    let mut shown = String::new();
    let mut until = async |wanted: &str| {
        let found = async {
            loop {
                if let Some(at) = shown.find(wanted) {
                    let rest = shown.split_off(at + wanted.len());
                    return std::mem::replace(&mut shown, rest);
                }
                let mut piece = [0; 1024];
                let count = screen.read(&mut piece).await.unwrap();
                assert!(count > 0, "the screen ends before {wanted:?}: {shown:?}");
                shown.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        };
        let found = tokio::time::timeout(std::time::Duration::from_secs(30), found).await;
        found.unwrap_or_else(|_| panic!("no {wanted:?}"))
    };
    until("/ # ").await;
    for (size, wanted) in [((80, 24), "24 80"), ((132, 43), "43 132")] {
        sizes.try_send(TerminalSize { width: size.0, height: size.1 }).unwrap();
        // Sizes and keys are on channels of their own: the size may be the later one.
        keys.write_all(
            format!("until [ \"$(stty size)\" = '{wanted}' ]; do sleep 0.01; done; echo =$(stty size)\r").as_bytes(),
        )
        .await
        .unwrap();
        until(&format!("\r\n={wanted}\r\n/ # ")).await;
    }
    for (typed, wanted) in [
        // What is typed is echoed, and edited before it is read.
        ("echo ab\x7fc | tr a-z A-Z\r", "\r\nAC\r\n/ # "),
        ("sleep 600\r", "sleep 600\r\n"),
        ("\x03", "^C\r\n/ # "),
        ("echo $?\r", "\r\n130\r\n/ # "),
        ("\x1b[A\x1b[A\x1b[A\r", "AC\r\n/ # "),
        ("for i in 1 2\r", "> "),
        ("do echo n$i; done\r", "\r\nn1\r\nn2\r\n/ # "),
        ("cat; echo over\r", "over\r\n"),
        ("line\r", "line\r\nline\r\n"),
        ("\x04", "over\r\n/ # "),
        ("exit 7\r", "exit 7\r\n"),
    ] {
        keys.write_all(typed.as_bytes()).await.unwrap();
        until(wanted).await;
    }
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(json!(status)["details"]["causes"][0], json!({ "reason": "ExitCode", "message": "7" }), "{status:?}");

    // Joining a container that waits at its prompt, as `kubectl attach -it` does.
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: shell }\nspec: { restartPolicy: Never, containers: [{ name: shell, image: busybox, stdin: true, stdinOnce: true, tty: true }] }\n";
    apply_text(&cluster, pod).await.unwrap();
    pod_until(&cluster, "shell", "it runs", |pod| (pod.pointer("/status/phase")? == "Running").then_some(())).await;
    let params = AttachParams::default().stdin(true).stderr(false).tty(true);
    let mut joined = pods.attach("shell", &params).await.unwrap();
    let (mut keys, mut screen) = (joined.stdin().unwrap(), joined.stdout().unwrap());
    keys.write_all(b"echo $((6*7)); exit 5\r").await.unwrap();
    let mut shown = String::new();
    screen.read_to_string(&mut shown).await.unwrap();
    // Keys may come before the prompt does.
    assert!(shown.ends_with("42\r\n"), "{shown:?}");
    let code = pod_until(&cluster, "shell", "it ends", |pod| {
        pod.pointer("/status/containerStatuses/0/state/terminated/exitCode").cloned()
    })
    .await;
    assert_eq!(code, 5);
    cluster.stop().await;
}
