"""The kinds of change that cache_truth_test.py makes, each a small function with the name of what changes.

Those in OUTSIDE take the world (store, clock, owner of the files), the others the project.
"""
WORDS = ["red", "green", "blue", "white"]
MODES = [0o644, 0o600, 0o755, 0o640]
MUTATIONS = {}


def mutation(function):
    MUTATIONS[function.__name__] = function
    return function


def other(random_source, pool, now):
    return random_source.choice([value for value in pool if value != now])


def some_file(p, r, kinds="f"):
    return r.choice(sorted(path for path, entry in p.files.items() if entry[0] in kinds))


@mutation
def content(p, r):
    path = some_file(p, r)
    p.files[path][2] = other(r, WORDS, p.files[path][2])


@mutation
def mode(p, r):
    path = some_file(p, r)
    p.files[path][1] = other(r, MODES, p.files[path][1])


@mutation
def rename(p, r):
    path = r.choice([q for q in sorted(p.files) if q.startswith("src/") and p.files[q][0] == "f"])
    new = "src/" + r.choice(["n1", "n2", "sub/n3"])
    if new not in p.files:
        p.files[new] = p.files.pop(path)


@mutation
def symlink(p, r):
    p.files["src/link"] = ["l", 0o777, other(r, ["a.txt", "sub", "nowhere", "/etc/passwd"], p.files["src/link"][2])]


@mutation
def file_becomes_link(p, r):
    p.files["src/b.log"] = ["l", 0o777, "a.txt"] if p.files.get("src/b.log", ["f"])[0] == "f" else ["f", 0o644, "green"]


@mutation
def new_file(p, r):
    p.files[f"src/new-{r.randrange(3)}"] = ["f", 0o644, r.choice(WORDS)]


@mutation
def removed_file(p, r):
    path = r.choice([q for q in sorted(p.files) if q.startswith("src/")])
    if len([q for q in p.files if q.startswith("src/")]) > 2:
        del p.files[path]
        p.files.setdefault("src/link", ["l", 0o777, "a.txt"])


@mutation
def ignore_file(p, r):
    p.ignore = other(r, [[], ["src/*.log"], ["src/sub"], ["src/*.log", "!src/b.log"], ["unrelated"]], p.ignore)


@mutation
def used_argument(p, r):
    p.args["USED"] = other(r, WORDS, p.args["USED"])


@mutation
def unused_argument(p, r):
    p.unused_arg = other(r, WORDS, p.unused_arg)


@mutation
def global_argument(p, r):
    p.global_arg = other(r, WORDS, p.global_arg)


@mutation
def environment_value(p, r):
    p.env["COLOR"] = other(r, WORDS, p.env["COLOR"])


@mutation
def environment_order(p, r):
    p.env = dict(reversed(list(p.env.items())))


@mutation
def platform(p, r):
    p.options["platform"] = other(r, ["linux/amd64", "linux/arm64"], p.options["platform"])


@mutation
def user(p, r):
    p.user = other(r, ["", "1000", "1000:7"], p.user)


@mutation
def workdir(p, r):
    p.workdir = other(r, ["/w", "/w/deeper", "/elsewhere"], p.workdir)


@mutation
def secret_value(p, r):
    p.secret = other(r, WORDS, p.secret) + " secret"


@mutation
def cache_mount_id(p, r):
    p.mount_id = other(r, ["id-red", "id-green"], p.mount_id)


@mutation
def heredoc_of_copy(p, r):
    p.heredoc = other(r, WORDS, p.heredoc)


@mutation
def heredoc_of_run(p, r):
    p.script = other(r, WORDS, p.script)


@mutation
def comment(p, r):
    p.comment = other(r, WORDS, p.comment)


@mutation
def label(p, r):
    p.label = other(r, WORDS, p.label)


@mutation
def order_of_sources(p, r):
    p.copy_order.reverse()


@mutation
def command_text(p, r):
    p.run_text = other(r, WORDS, p.run_text)


@mutation
def command_of_another_stage(p, r):
    p.builder_text = other(r, WORDS, p.builder_text)


@mutation
def chmod_flag(p, r):
    p.chmod = other(r, ["0640", "0755", "0600"], p.chmod)


@mutation
def chown_flag(p, r):
    p.chown = other(r, ["", "root", "7:8", "9"], p.chown)


@mutation
def exclude_flag(p, r):
    p.exclude = other(r, ["", "*.tmp", "sub"], p.exclude)


@mutation
def destination(p, r):
    p.destination = other(r, ["/data/files/", "/data/moved/"], p.destination)


@mutation
def destination_of_link(p, r):
    p.link_destination = other(r, ["/data/link/", "/data/linked/"], p.link_destination)


@mutation
def bind_source(p, r):
    p.bind_source = other(r, ["src", "other"], p.bind_source)


@mutation
def host_name(p, r):
    p.options["hostname"] = other(r, ["sandbox", "box"], p.options["hostname"])


@mutation
def address_of_a_host(p, r):
    p.options["host-ip"] = other(r, ["10.0.0.1", "10.0.0.2"], p.options["host-ip"])


@mutation
def name_of_a_host(p, r):
    p.options["host"] = other(r, ["peer", "friend"], p.options["host"])


@mutation
def limit(p, r):
    p.options["ulimit"] = other(r, ["1024", "2048"], p.options["ulimit"])


@mutation
def network(p, r):
    p.options["network"] = other(r, ["default", "none"], p.options["network"])


@mutation
def shared_memory(p, r):
    p.options["shm"] = other(r, ["64m", "32m"], p.options["shm"])


@mutation
def umask_of_the_checkout(p, r):
    p.umask = other(r, [0o002, 0o022, 0o027, 0o077], p.umask)


@mutation
def modes_as_git_keeps_them(p, r):
    p.modes = other(r, ["disk", "git"], p.modes)


@mutation
def same_size_same_time_in_place(p, r):
    """An edit that neither size nor modification time shows, right after a build."""
    path = r.choice(["one", "two"])
    if len(p.files[path][2]) == 5:
        p.files[path][2] = {"green": "white", "white": "green"}[p.files[path][2]]
        p.in_place = path


# ---- changes of what lies outside the project; (world, random)

@mutation
def times(world, r):
    world.clock += r.randrange(1, 1000)


@mutation
def owner_and_attributes_on_disk(world, r):
    world.owner = r.choice([0, 1000, 65534])


@mutation
def evicted_record(world, r):
    world.evict_records()


@mutation
def evicted_layer(world, r):
    world.evict_layer(r)


@mutation
def base_tag_moved(world, r):
    world.move_tag(r)


OUTSIDE = {times, owner_and_attributes_on_disk, evicted_record, evicted_layer, base_tag_moved}
