#include "worker/command/sandbox_runner.h"

namespace merganser {

const char kSandboxRunner[] = R"PY(
import ctypes, json, os, resource, struct, sys

asked = json.loads(sys.argv[1])
gaps = []
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NOBODY = 65534
NEWIPC, NEWUSER, NEWNET = 0x08000000, 0x10000000, 0x40000000
root = os.geteuid() == 0

result = os.dup(1)
null = os.open(os.devnull, os.O_RDWR)
source = None
if asked["token"]:
    with open("program.py", encoding="utf-8") as file:
        source = file.read()

network = libc.unshare(NEWNET | NEWIPC if root else NEWUSER | NEWNET | NEWIPC) == 0

if root:
    try:
        os.chown(".", NOBODY, NOBODY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    except OSError as error:
        gaps.append("user: root cannot become nobody (%s), so processes are not bounded" % error)

libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS


def landlock():
    """Files may be changed in this folder only; the version of Landlock, 0 if there is none."""
    create, add, restrict = 444, 445, 446
    version = libc.syscall(create, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return 0
    changes = 1 << 1 | sum(1 << bit for bit in range(4, 13))  # writing, removing, making
    if version >= 2:
        changes |= 1 << 13  # moving between folders
    if version >= 3:
        changes |= 1 << 14  # truncating
    fields = [changes]
    if version >= 4:
        fields.append(3)  # TCP: bind, connect
    if version >= 6:
        fields.append(3)  # abstract sockets, signals
    attributes = struct.pack("=%dQ" % len(fields), *fields)
    ruleset = libc.syscall(create, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return 0
    for path, allowed in ((".", changes), (os.devnull, changes & (1 << 1 | 1 << 14))):
        at = os.open(path, os.O_PATH)
        if libc.syscall(add, ruleset, 1, struct.pack("=Qi", allowed, at), 0) != 0:
            return 0
        os.close(at)
    if libc.syscall(restrict, ruleset, 0) != 0:
        return 0
    os.close(ruleset)
    return version


version = landlock()
if not version and not root:
    gaps.append("files: this kernel has no Landlock, so programs may write wherever this user may")
if not network:
    gaps.append("network: no namespace is permitted, so " + ("all but TCP is open" if version >= 4 else "it is open"))
if version < 6 and not root:
    gaps.append("signals: Landlock is older than version 6, so programs may signal this user's processes")

for name, bound in (("CPU", asked["cpu"]), ("AS", asked["memory"]), ("FSIZE", asked["file"]), ("NOFILE", 64), ("CORE", 0), ("NPROC", 1)):
    kind = getattr(resource, "RLIMIT_" + name)
    hard = resource.getrlimit(kind)[1]
    bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
    resource.setrlimit(kind, (bound, bound))

if source is None:
    import statistics  # the library must be readable still
    os.write(result, json.dumps(gaps).encode())
    sys.exit(0)

os.dup2(null, 1)
token = asked["token"].encode()
sys.argv = ["program.py"]
del asked
exec(compile(source, "program.py", "exec"), {"__name__": "__main__", "__file__": "program.py"})
os.write(result, token)
)PY";

}  // namespace merganser
