package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/testenv/samba"
)

const syncPassword = "Sync.Secret-88"

// refused runs a command that must fail with an exit status and say something.
func (w *world) refused(status int, want string, args ...string) string {
	w.t.Helper()
	out, err := w.cli(args...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != status || !strings.Contains(out, want) {
		w.t.Errorf("dirgate %s: got %v\n%s\nwant exit status %d and %q", strings.Join(args, " "), err, out, status, want)
	}
	return out
}

// TestRegisterForSync: a domain that is written to needs an account whose
// rights are all there; what is missing is told, with the command that grants
// it, and running the commands cures it.
func TestRegisterForSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dc := w.dc
	account := "jcsync@" + w.name
	register := func(args ...string) []string {
		return append([]string{"domain", "register", w.name, "--root-dn", dc.PeopleDN()}, args...)
	}
	w.must(append(register(), "--yes")...)
	password, wrong := w.secretFile("sync", []byte(syncPassword)), w.secretFile("wrong", []byte("Wrong.Pass1"))
	for _, use := range []string{"two-way", "jumpcloud"} {
		w.refused(2, "--use-case "+use+" writes to Active Directory: --sync-account and --sync-password-file are required", register("--use-case", use)...)
	}
	w.refused(2, "--sync-password-file is required", register("--use-case", "two-way", "--sync-account", account)...)
	w.refused(2, "only one of --sync-password-file and --api-key-file can be standard input", register("--sync-password-file", "-", "--api-key-file", "-")...)
	twoWay := register("--use-case", "two-way", "--sync-account", account, "--sync-password-file", password)
	out := w.refused(1, "not confirmed, because the use case changes from ad to two-way", twoWay...)
	if !strings.Contains(out, "useCase ADASAUTHORITY becomes TWOWAYSYNC") || !strings.Contains(out, "the sync agent is registered") {
		t.Errorf("what changes is not shown before it is asked:\n%s", out)
	}
	twoWay = append(twoWay, "--yes")
	w.refused(1, "check --sync-account and --sync-password-file; nothing was stored", twoWay...)
	dc.AddServiceAccount(t, "jcsync", []byte(syncPassword))
	w.refused(1, "check --sync-account and --sync-password-file; nothing was stored", append(register("--use-case", "two-way", "--sync-account", account, "--sync-password-file", wrong), "--yes")...)

	// The objects of both kinds are there, so every right can be looked at.
	dc.Tool(t, "group", "add", "Team", "--groupou=OU=People")
	w.cloud.ForgetHistory()
	out = w.refused(1, "jcsync@"+w.name+" lacks 10 of 10 rights on "+dc.PeopleDN()+": Create user objects, Create group objects, Reset password of user objects", twoWay...)
	if n := len(w.cloud.Writes()); n > 0 {
		t.Errorf("%d writes to JumpCloud before the rights were there", n)
	}
	commands := regexp.MustCompile("Samba: `samba-tool dsacl set --objectdn=\"([^\"]+)\" --sddl=\"([^\"]+)\"`").FindAllStringSubmatch(out, -1)
	if len(commands) != 10 {
		t.Fatalf("%d commands are told, want 10:\n%s", len(commands), out)
	}
	for _, c := range commands[:9] {
		dc.Tool(t, "dsacl", "set", "--objectdn="+c[1], "--sddl="+c[2])
	}
	w.refused(1, "lacks 1 of 10 rights on "+dc.PeopleDN()+": Write name of group objects", twoWay...)
	if strings.Contains(w.must("domain", "show", w.name), account) {
		t.Error("a refused account was stored")
	}
	dc.Tool(t, "dsacl", "set", "--objectdn="+commands[9][1], "--sddl="+commands[9][2])
	out = w.must(twoWay...)
	if !strings.Contains(out, "has 10 of 10 rights on "+dc.PeopleDN()) || !strings.Contains(out, "JumpCloud sync agent") {
		t.Errorf("registered:\n%s", out)
	}
	w.refused(1, "has use case TWOWAYSYNC (--use-case two-way), not ADASAUTHORITY (--use-case ad); name the one it has, or add --yes to change it",
		forgotten(w)...)
}

// forgotten removes the registration here only, and registers the domain under
// another use case than JumpCloud has.
func forgotten(w *world) []string {
	w.must("domain", "remove", w.name, "--local", "--yes")
	return []string{"domain", "register", w.name, "--dc", w.url, "--ca-file", w.caFile,
		"--import-account", w.account, "--import-password-file", w.secretFile("pw", []byte(servicePassword)),
		"--jumpcloud-url", w.cloud.URL(), "--jumpcloud-ca-file", w.cloud.ca.File(), "--api-key-file", w.secretFile("key", w.cloud.APIKey().Expose())}
}

// TestUseCaseChanges: a live domain goes from every use case to every other;
// every link is kept, nobody is deleted on either side, and JumpCloud has the
// use case and the agents.
func TestUseCaseChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dc.AddServiceAccount(t, "jcsync", []byte(syncPassword), samba.Sync)
	w.must("domain", "register", w.name, "--root-dn", w.dc.PeopleDN(), "--yes")
	var dns []string
	for n := range 4 {
		dns = append(dns, w.addUser(fmt.Sprintf("worker%d", n), []byte(before)))
	}
	w.serve()
	w.must("replicate", "resync")
	links := w.links()
	if len(links) < 5 {
		t.Fatalf("links %v, want those of alice and four workers", links)
	}
	sync := []string{"--sync-account", "jcsync@" + w.name, "--sync-password-file", w.secretFile("sync", []byte(syncPassword))}
	agents := map[string]int{"ad": 1, "two-way": 2, "jumpcloud": 1}
	for n, use := range []string{"two-way", "jumpcloud", "ad", "jumpcloud", "two-way", "ad"} {
		out := w.must(append([]string{"domain", "update", w.name, "--use-case", use, "--yes"}, sync...)...)
		sync = nil // it is stored
		if show := w.must("domain", "show", w.name); !strings.Contains(show, use) || !strings.Contains(out, "every link is kept") && !strings.Contains(w.output.String(), "every link is kept") {
			t.Errorf("%s: %s\n%s", use, out, show)
		}
		w.must("domain", "verify", w.name)
		w.must("replicate", "resync")
		if n == 0 {
			w.plansBoth(t)
			links = w.links() // two more
		}
		if n := len(w.agentsOf()); n != agents[use] {
			t.Errorf("%s: %d agents, want %d", use, n, agents[use])
		}
		now := w.links()
		for guid, id := range links {
			if now[guid] != id || w.cloud.person(w.nameOf(id)).State == "SUSPENDED" {
				t.Errorf("%s: the link %s to %s became %q", use, guid, id, now[guid])
			}
		}
		if len(now) != len(links) {
			t.Errorf("%s: %d links, want %d", use, len(now), len(links))
		}
		for _, dn := range dns {
			if out := w.dc.LDB(t, "", "ldbsearch", "-b", dn, "-s", "base", "userAccountControl"); !strings.Contains(out, "userAccountControl: 512") {
				t.Errorf("%s: %s is %s", use, dn, out)
			}
		}
	}
}

// plansBoth: somebody new on each side is planned towards the other, which is
// then done.
func (w *world) plansBoth(t *testing.T) {
	t.Helper()
	w.must("replicate", "pause", "--direction", "import")
	w.must("replicate", "pause", "--direction", "sync")
	w.addUser("hired", []byte(before))
	id := w.cloud.add(t, "invited", "invited@"+w.name)
	var d struct {
		JumpCloud struct {
			ADID string `json:"adID"`
		} `json:"jumpcloud"`
	}
	if err := json.Unmarshal([]byte(w.must("--output", "json", "domain", "show", w.name)), &d); err != nil {
		t.Fatal(err)
	}
	if err := w.cloud.BindUser(d.JumpCloud.ADID, id, true); err != nil {
		t.Fatal(err)
	}
	plan := w.must("replicate", "plan")
	for _, line := range []string{`(?m)^import +hired +create-user `, `(?m)^sync +invited +ad-create-user .*sAMAccountName=invited`} {
		if !regexp.MustCompile(line).MatchString(plan) {
			t.Errorf("the plan has no %s:\n%s", line, plan)
		}
	}
	if one := w.must("replicate", "plan", "--direction", "sync"); strings.Contains(one, "hired") || !strings.Contains(one, "invited") {
		t.Errorf("the plan of one direction:\n%s", one)
	}
	w.must("replicate", "resume", "--direction", "import")
	w.must("replicate", "resume", "--direction", "sync")
	w.must("replicate", "resync")
	if w.cloud.person("hired").ID == "" || !strings.Contains(w.dc.LDB(t, "", "ldbsearch", "(sAMAccountName=invited)", "dn"), w.dc.PeopleDN()) {
		t.Error("what was planned was not done")
	}
}

// links are the JumpCloud ids of linked accounts, by objectGUID.
func (w *world) links() map[string]string {
	w.t.Helper()
	var rows []struct{ GUID, JumpcloudID string }
	if err := json.Unmarshal([]byte(w.must("--output", "json", "user", "list", "--status", "linked")), &rows); err != nil {
		w.t.Fatal(err)
	}
	all := make(map[string]string)
	for _, r := range rows {
		all[r.GUID] = r.JumpcloudID
	}
	return all
}

// nameOf is the username of a JumpCloud user, who must be there.
func (w *world) nameOf(id string) string {
	w.t.Helper()
	u, ok := w.cloud.User(id)
	if !ok {
		w.t.Errorf("JumpCloud user %s is gone", id)
	}
	return u.Username
}

// agentsOf are the ids of the registered agents.
func (w *world) agentsOf() []string {
	w.t.Helper()
	var d struct {
		JumpCloud struct {
			AgentIDs []string `json:"agentIDs"`
		} `json:"jumpcloud"`
	}
	if err := json.Unmarshal([]byte(w.must("--output", "json", "domain", "show", w.name)), &d); err != nil {
		w.t.Fatal(err)
	}
	return d.JumpCloud.AgentIDs
}

// TestRotateCredentials: a service account's password is exchanged under a
// running daemon, which goes on at once.
func TestRotateCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve()
	w.must("replicate", "resync")
	const fresh = "Svc.Fresh-78"
	file := w.secretFile("new", []byte(fresh))
	w.refused(1, "change it in Active Directory first, and check --password-file; the stored password stays", "domain", "rotate-credentials", w.name, "--password-file", file)
	w.dc.ResetPassword(t, "CN=svc-dirgate,OU=Service,"+w.base, []byte(fresh))
	out := w.must("domain", "rotate-credentials", w.name, "--import", "--password-file", file)
	if !strings.Contains(out, "can bind with the new password at ") {
		t.Error(out)
	}
	w.addUser("newcomer", []byte(before))
	after(t, "somebody is imported after the exchange", func() bool { return w.cloud.person("newcomer").ID != "" })
	w.must("domain", "verify", w.name)
	if strings.Contains(w.output.String(), fresh) {
		t.Error("the password was told")
	}
	// Removed, the daemon serves no domain any more, and JumpCloud keeps people.
	out = w.must("domain", "remove", w.name, "--yes")
	if !strings.Contains(out, "removed from JumpCloud: agents ") || w.cloud.person("newcomer").ID == "" || w.cloud.person("alice").ID == "" {
		t.Errorf("removed: %s", out)
	}
	eventually(t, patience, "/readyz says that no domain is registered", func() bool { return strings.Contains(w.get("/readyz"), "no domain is registered") })
}
