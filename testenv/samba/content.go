package samba

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

//go:embed bulk.py
var bulkScript []byte

//go:embed ldif.py
var ldifScript []byte

// script runs a program with Samba's modules on the DC's database.
func (dc *DC) script(tb testing.TB, program []byte, args ...string) {
	tb.Helper()
	file := filepath.Join(dc.Dir, "script.py")
	dc.must(tb, "write a script for", os.WriteFile(file, program, 0o600))
	run(tb, exec.Command(python, append([]string{file, dc.Dir + "/smb.conf"}, args...)...))
}

// AddUsers adds n disabled users without a password, named prefix00000 and so
// on, under OU=People, with what [DC.AddUser] gives them otherwise. The DC is
// restarted: 1,000 users take 3 s.
func (dc *DC) AddUsers(tb testing.TB, prefix string, n int) {
	tb.Helper()
	dc.Stop(tb)
	dc.script(tb, bulkScript, dc.PeopleDN(), dc.Domain, prefix, strconv.Itoa(n))
	dc.Restart(tb)
}

// AddLDIF adds objects as LDIF has them (RFC 2849), without the rules that
// LDAP's clients are held to. The DC is restarted: 2,000 users take some
// seconds.
func (dc *DC) AddLDIF(tb testing.TB, ldif string) {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "objects.ldif")
	dc.must(tb, "write LDIF for", os.WriteFile(file, []byte(ldif), 0o600))
	dc.Stop(tb)
	dc.script(tb, ldifScript, file)
	dc.Restart(tb)
}

// A Content is a copy of a DC's databases, as a snapshot of its machine has it.
type Content struct{ dir string }

// Save copies the databases. The DC is restarted.
func (dc *DC) Save(tb testing.TB) Content {
	tb.Helper()
	c := Content{tb.TempDir()}
	dc.Stop(tb)
	dc.must(tb, "save", copyState(dc.Dir, c.dir))
	dc.Restart(tb)
	return c
}

// Revert puts databases back as a reverted machine has them: USNs are given
// out for the second time, and nothing tells (USN rollback). The DC is
// restarted.
func (dc *DC) Revert(tb testing.TB, c Content) {
	tb.Helper()
	dc.Stop(tb)
	dc.load(tb, c)
	dc.Restart(tb)
}

// Restore puts databases back as a proper restore does: with a new
// invocationId (MS-ADTS 3.1.1.1.9). The DC is restarted.
func (dc *DC) Restore(tb testing.TB, c Content) {
	tb.Helper()
	settings := dc.settings(tb)
	dc.Stop(tb)
	dc.load(tb, c)
	dc.LDB(tb, fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: invocationId\ninvocationId: %s\n", settings, newGUID()), "ldbmodify")
	dc.Restart(tb)
}

func (dc *DC) load(tb testing.TB, c Content) {
	tb.Helper()
	for _, name := range stateDirs {
		dc.must(tb, "empty", os.RemoveAll(filepath.Join(dc.Dir, name)))
	}
	dc.must(tb, "revert", copyState(c.dir, dc.Dir))
}

// settings is the DN of the DC's NTDS Settings.
func (dc *DC) settings(tb testing.TB) string {
	tb.Helper()
	req := ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"dsServiceName"}, nil)
	res, err := dc.Conn(tb).Search(req)
	if err != nil || len(res.Entries) != 1 {
		tb.Fatalf("read the root DSE: %v", err)
	}
	return res.Entries[0].GetAttributeValue("dsServiceName")
}

func newGUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
