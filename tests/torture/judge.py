"""Finds out, while nobody writes, whether everything is as it was promised (`protocol.md`, What is promised).

- Every key of every writer has the value of its last acknowledged change, byte for byte and through both doors; a
  change without an answer happened wholly or not at all.
- The history of `main` has every acknowledged commit once, in an order that fits the times of their calls, and none
  that nobody asked for. Each is a cut: there is one instant inside its call at which every key had the value that the
  commit shows, and the instants are in the order of the history.
- The history of `trunk`, likewise, has every acknowledged merge. It is replayed: after each merge the whole content is
  what the merges so far make it, so nothing of a merge shows without the rest and nothing merged gets lost.
- Branches, staged changes left on them, tags, repositories: there as acknowledged, gone as acknowledged.
"""
from history import ABSENT, Lost, cut
from lake import REPO, Hand
from writers import BranchWriter, KeyWriter, RepositoryWriter


class Line:
    """The history of a branch as far as it was checked."""

    def __init__(self, branch, head):
        self.branch, self.commits, self.tokens = branch, [head], set()
        self.latest_asked = 0.0  # the latest time at which a commit so far was asked for
        self.settled = []  # (answered, index) of acknowledged commits


class Judge:
    def __init__(self, stage, crowd, rng, first):
        self.stage, self.crowd, self.rng = stage, crowd, rng
        self.hand = Hand(stage, rng)
        self.main, self.trunk = Line("main", first), Line("trunk", first)
        self.last_cut = 0.0
        self.contents_of_main = {0: {}}  # index in the history of main -> listing
        self.main_in_trunk = 0
        self.groups = {}  # writer -> {path: value} on trunk
        self.writers = {writer.number: writer for writer in crowd}
        self.samples = []  # (commit, listing) for later

    def check(self, everything=False):
        down = self.stage.down
        self.check_main(down)
        self.check_trunk(down)
        for writer in self.crowd:
            if isinstance(writer, BranchWriter):
                self.check_branches(writer, everything)
            elif isinstance(writer, RepositoryWriter):
                self.check_repositories(writer, down)
        left = [asked.token for asked in self.stage.asked.values() if asked.id is not None]
        if left:
            raise Lost(f"acknowledged, but in no history: {left}")
        self.stage.asked.clear()
        self.check_samples(everything)

    def advance(self, line, kinds):
        """The new commits of a branch, each with what was asked for; all that was acknowledged is among them."""
        for commit in self.hand.log(line.branch, line.commits[-1]):
            token = commit["message"]
            asked = self.stage.asked.get(token)
            if asked is None or asked.kind not in kinds:
                known = "twice" if token in line.tokens else "though nobody asked for it"
                raise Lost(f"{line.branch} has '{token}' {known}: {commit}")
            del self.stage.asked[token]
            line.tokens.add(token)
            if asked.id not in (None, commit["id"]) or commit["metadata"].get("token") != token:
                raise Lost(f"'{token}' was acknowledged as {asked.id}: {commit}")
            if commit["parents"][0] != line.commits[-1]:
                raise Lost(f"'{token}' does not follow {line.commits[-1]}: {commit}")
            if asked.answered is not None and asked.answered < line.latest_asked:
                raise Lost(f"'{token}' stands behind a commit that was asked for after its answer")
            line.latest_asked = max(line.latest_asked, asked.asked)
            line.commits.append(commit["id"])
            if asked.answered is not None:
                line.settled.append((asked.answered, len(line.commits) - 1))
            yield commit, asked
        for asked in self.stage.asked.values():
            if asked.kind in kinds and asked.id is not None:
                raise Lost(f"'{asked.token}', acknowledged as {asked.id}, is not in the history of {line.branch}")

    def check_main(self, down):
        seen = self.hand.list("main")
        for path, history in self.stage.keys.items():
            try:
                history.resolve(seen.pop(path, ABSENT), down)
            except Lost as error:
                raise Lost(f"'{path}' on main: {error}") from error
        if seen:
            raise Lost(f"on main, though nobody wrote it: {seen}")
        for path, history in self.stage.keys.items():
            self.hand.expect("main", path, history.value)
        for commit, asked in self.advance(self.main, ["commit"]):
            listing = self.hand.list(commit["id"])
            until = down if asked.answered is None else asked.answered
            try:
                self.last_cut = cut(listing, self.stage.keys, max(asked.asked, self.last_cut), until)
            except Lost as error:
                raise Lost(f"'{asked.token}' is no cut of main ({commit['id']}): {error}") from error
            self.contents_of_main[len(self.main.commits) - 1] = listing
            self.remember(commit["id"], listing)

    def check_trunk(self, down):
        position = {commit: index for index, commit in enumerate(self.main.commits)}
        for commit, asked in self.advance(self.trunk, ["merge", "update"]):
            source = commit["parents"][1]
            if asked.kind == "update":
                index = position.get(source)
                acknowledged = [at for answered, at in self.main.settled if answered < asked.asked]
                if index is None or index < max([self.main_in_trunk, *acknowledged]):
                    raise Lost(f"'{asked.token}' merged {source}, number {index} of main, too old")
                self.main_in_trunk = index
            else:
                writer = self.writers[asked.by]
                if source != asked.more["source"]:
                    raise Lost(f"'{asked.token}' merged {source}, not {asked.more['source']}")
                writer.merged = asked.more["generation"]
                self.groups[asked.by] = writer.generations[writer.merged]
            wanted = dict(self.contents_of_main[self.main_in_trunk])
            for group in self.groups.values():
                wanted |= {path: value for path, value in group.items() if value is not ABSENT}
            self.same(self.hand.list(commit["id"]), wanted, f"after '{asked.token}' trunk")
            self.remember(commit["id"], wanted)
        # Nothing older is merged from here on.
        for index in [index for index in self.contents_of_main if index < self.main_in_trunk]:
            del self.contents_of_main[index]

    def same(self, seen, wanted, what):
        if seen == wanted:
            return
        wrong = {path: (seen.get(path), wanted.get(path)) for path in seen.keys() | wanted.keys() if seen.get(path) != wanted.get(path)}
        raise Lost(f"{what} differs at {len(wrong)} paths (is, must be): {dict(sorted(wrong.items())[:6])}")

    def remember(self, commit, listing):
        if self.rng.random() < 0.1:
            self.samples.append((commit, listing))

    def check_samples(self, everything):
        """Commits do not change, and the bytes behind them stay."""
        chosen = self.samples[-30:] if everything else self.rng.sample(self.samples, min(2, len(self.samples)))
        for commit, listing in chosen:
            self.same(self.hand.list(commit), listing, f"commit {commit}")
            for path in self.rng.sample(sorted(listing), min(10, len(listing))):
                self.hand.expect(commit, path, listing[path])

    def check_branches(self, writer, everything):
        self.settle_work(writer)
        if writer.open_tag is not None:
            tag, commit = writer.open_tag
            if self.hand.rest("GET", f"/tags/{tag}", ok=[200, 404])[0] == 200:
                writer.tags[tag] = commit
            writer.open_tag = None

        def some(of):
            return list(of) if everything else self.rng.sample(sorted(of), min(2, len(of)))

        for name in some(writer.left):
            head, listing = writer.left[name]
            found = self.hand.rest("GET", f"/branches/{name}", ok=[200])[1]["commit_id"]
            if found != head:
                raise Lost(f"branch {name} is at {found}, was left at {head}")
            there = {path: value for path, value in listing.items() if value is not ABSENT}
            self.same(self.hand.list(name, f"g{writer.number:02}/"), there, f"branch {name}")
        for name in some(writer.gone):
            self.hand.rest("GET", f"/branches/{name}", ok=[404])
        for commit in some(writer.commits):
            parent, token, state = writer.commits[commit]
            record = self.hand.rest("GET", f"/commits/{commit}", ok=[200])[1]
            if (record["parents"], record["message"]) != ([parent], token):
                raise Lost(f"commit '{token}' on {parent} became {record}")
            there = {path: value for path, value in state.items() if value is not ABSENT}
            self.same(self.hand.list(commit, f"g{writer.number:02}/"), there, f"commit {commit}, '{token}',")
        for tag in some(writer.tags):
            found = self.hand.rest("GET", f"/tags/{tag}", ok=[200])[1]["commit_id"]
            if found != writer.tags[tag]:
                raise Lost(f"tag {tag} is at {found}, was made at {writer.tags[tag]}")

    def settle_work(self, writer):
        """What became of the branch that the writer was at when the server went down."""
        work, writer.work = writer.work, None
        if work is None:
            return
        may_be_absent = work.creating or work.deleting
        status, found = self.hand.rest("GET", f"/branches/{work.name}", ok=[200, 404] if may_be_absent else [200])
        if status == 404:
            writer.gone.append(work.name)
            return
        head = found["commit_id"]
        if work.creating:
            if head not in self.trunk.commits:
                raise Lost(f"branch {work.name} was made at {head}, which trunk never was at")
            work.head = head
        elif head != work.head:
            commit = self.hand.rest("GET", f"/commits/{head}", ok=[200])[1]
            asked = self.stage.asked.pop(commit["message"], None)
            if asked is None or asked.more.get("branch") != work.name or commit["parents"] != [work.head]:
                raise Lost(f"branch {work.name} is at {head}, its writer left it at {work.head}: {commit}")
            writer.took(work, head, asked.token, asked.more["state"])
        seen = self.hand.list(work.name, f"g{writer.number:02}/")
        for path, history in work.keys.items():
            try:
                history.resolve(seen.get(path, ABSENT), self.stage.down)
            except Lost as error:
                raise Lost(f"'{path}' on {work.name}: {error}") from error
        writer.leave(work)

    def check_repositories(self, writer, down):
        for name, history in writer.repositories.items():
            status, _ = self.hand.door.rest("GET", f"/repositories/{name}")
            try:
                history.resolve({200: "there", 404: ABSENT}.get(status, status), down)
            except Lost as error:
                raise Lost(f"repository {name}: {error}") from error
            if status == 200:
                heads = self.hand.door.rest("GET", f"/repositories/{name}/branches")[1]["results"]
                if [branch["id"] for branch in heads] != ["main"]:
                    raise Lost(f"repository {name} is half-made: {heads}")

    def walk(self):
        """The whole histories, once more from their heads."""
        for line in (self.main, self.trunk):
            found = [commit["id"] for commit in self.hand.log(line.branch, line.commits[0])]
            if found != line.commits[1:]:
                raise Lost(f"the history of {line.branch} changed")


__all__ = ["Judge", "KeyWriter", "REPO"]
