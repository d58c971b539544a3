package adsim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// TestHostile sends what ends other servers, and looks whether this one lives.
func TestHostile(t *testing.T) {
	w := start(t, Config{})
	bind := ldapwire.AppendBindRequest(nil, 1, w.AdminDN(), []byte(adminPassword))
	nested := bytes.Repeat([]byte{0x30, 0x80}, 100000)
	deepFilter := bytes.Repeat([]byte{0xa2, 0x84, 0, 0, 0, 0}, 50)
	tests := map[string][]byte{
		"nested sequences":         nested,
		"a claim of 2 GiB":         {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff},
		"endless length":           {0x30, 0x80, 2, 1, 1},
		"HTTP":                     []byte("GET / HTTP/1.1\r\n\r\n"),
		"delete without values":    slices.Concat(bind, ldapwire.AppendModifyRequest(nil, 2, w.dn("bob"), ldapwire.Mod{Op: ldapwire.ModDelete, Type: "title"})),
		"empty value":              slices.Concat(bind, ldapwire.AppendModifyRequest(nil, 2, w.dn("bob"), ldapwire.Mod{Op: ldapwire.ModReplace, Type: "title", Values: [][]byte{{}}})),
		"filter of the wrong kind": slices.Concat(bind, ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: "OU=People," + w.BaseDN(), Filter: []byte{0x8f, 0}})),
		"filter without parts":     slices.Concat(bind, ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: "OU=People," + w.BaseDN(), Filter: []byte{0xa3, 0}})),
		"substrings without":       slices.Concat(bind, ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: "OU=People," + w.BaseDN(), Filter: []byte{0xa4, 6, 4, 2, 'c', 'n', 0x30, 0}})),
		"not without":              slices.Concat(bind, ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: "OU=People," + w.BaseDN(), Filter: []byte{0xa2, 0}})),
		"broken filter":            slices.Concat(bind, ldapwire.AppendSearchRequest(nil, 2, ldapwire.SearchParams{BaseDN: "OU=People," + w.BaseDN(), Filter: deepFilter[:6]})),
		"a response":               ldapwire.AppendResult(nil, 1, ldapwire.OpModifyResponse, 0, "", ""),
		"unbind first":             ldapwire.AppendUnbindRequest(nil, 1),
		"abandon":                  ldapwire.AppendAbandonRequest(nil, 1, 7),
	}
	for name, frame := range tests {
		conn := w.raw()
		if _, err := conn.Write(frame); err != nil && !errors.Is(err, net.ErrClosed) && name != "nested sequences" {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.CloseWrite()
		if _, err := io.Copy(io.Discard, conn); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the server neither answers nor closes", name)
		}
		w.alive()
	}
}

// TestRealClients runs the programs people try first.
func TestRealClients(t *testing.T) {
	if _, err := exec.LookPath("ldapwhoami"); err != nil {
		t.Skip("SKIPPED: needs ldap-utils: run `apt-get install ldap-utils`")
	}
	w := start(t, Config{})
	ldif := filepath.Join(t.TempDir(), "change.ldif")
	change := "dn: " + w.dn("alice") + "\nchangetype: modify\ndelete: unicodePwd\nunicodePwd:: " + base64(quoted(userPassword)) +
		"\n-\nadd: unicodePwd\nunicodePwd:: " + base64(quoted("Other.Word2")) + "\n-\n"
	if err := os.WriteFile(ldif, []byte(change), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, append([]string{"-H", w.URL(), "-x"}, args...)...)
		cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+w.ca.File())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		return string(out)
	}
	as := []string{"-D", "alice@corp.example.test", "-w", userPassword}
	if got, want := strings.TrimSpace(run("ldapwhoami", as...)), `u:CORP\alice`; got != want {
		t.Errorf("ldapwhoami says %q, want %q", got, want)
	}
	out := run("ldapsearch", append(as, "-LLL", "-b", w.BaseDN(), "(sAMAccountName=bob)", "mail", "memberOf")...)
	for _, want := range []string{"dn: " + w.dn("bob"), "mail: bob@corp.example.test", "memberOf: CN=JumpCloud,OU=Groups," + w.BaseDN()} {
		if !strings.Contains(out, want) {
			t.Errorf("ldapsearch lacks %q in:\n%s", want, out)
		}
	}
	run("ldapmodify", append(as, "-f", ldif)...)
	if got, want := strings.TrimSpace(run("ldapwhoami", "-D", `CORP\alice`, "-w", "Other.Word2")), `u:CORP\alice`; got != want {
		t.Errorf("ldapwhoami with the new password says %q, want %q", got, want)
	}
}
