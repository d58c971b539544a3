package samba

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The domain that every DC of this package serves.
const (
	realm   = "CORP.EXAMPLE.TEST"
	domain  = "corp.example.test"
	netbios = "CORP"
	host    = "dc1"
	baseDN  = "DC=corp,DC=example,DC=test"
)

// adminPassword guards nothing but domains on loopback that live for seconds.
const adminPassword = "Adm1n-of-a-test"

//go:embed provision.py
var provisionScript []byte

// python is the system's: Samba's modules are not installed for any other.
const python = "/usr/bin/python3"

// stateDirs are the folders that make up the domain; scratchDirs are what a
// running DC needs beside them.
var (
	stateDirs   = []string{"private", "state"}
	scratchDirs = []string{"cache", "lock", "run", "ncalrpc", "log", "tls"}
)

// confTemplate takes the folder and the address. Notable settings: the address
// needs a prefix length that covers the loopback interface's own, else Samba
// finds no interface; and of the ways to start, these services are enough for
// LDAP over TLS.
const confTemplate = `[global]
	netbios name = DC1
	realm = CORP.EXAMPLE.TEST
	workgroup = CORP
	server role = active directory domain controller
	server services = %[3]s
	interfaces = %[2]s/8
	bind interfaces only = yes
	disable netbios = yes
	tls cafile = %[1]s/tls/ca.pem
	tls certfile = %[1]s/tls/cert.pem
	tls keyfile = %[1]s/tls/key.pem
	old password allowed period = %[4]d
	ldb:nosync = yes
	private dir = %[1]s/private
	state directory = %[1]s/state
	cache directory = %[1]s/cache
	lock directory = %[1]s/lock
	pid directory = %[1]s/run
	ncalrpc dir = %[1]s/ncalrpc
	winbindd socket directory = %[1]s/run/winbindd
	ntp signd socket directory = %[1]s/run/ntp_signd
	binddns dir = %[1]s/private/bind-dns
	log file = %[1]s/log/log.samba
	logging = file
	log level = 0
	max log size = 0
%[5]s
[sysvol]
	path = %[1]s/state/sysvol
	read only = no
[netlogon]
	path = %[1]s/state/sysvol/corp.example.test/scripts
	read only = no
`

// defaultServices is all that LDAP over TLS needs.
const defaultServices = "ldap"

// layOut makes the folders a DC in dir needs and writes its smb.conf.
func layOut(dir, address string, o options) error {
	for _, name := range append(append([]string(nil), stateDirs...), scratchDirs...) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	// Samba insists that others may look for sockets here.
	if err := os.Chmod(filepath.Join(dir, "ncalrpc"), 0o755); err != nil {
		return err
	}
	extra := ""
	for _, line := range o.settings {
		extra += "\t" + line + "\n"
	}
	conf := fmt.Sprintf(confTemplate, dir, address, o.services, int(o.oldPasswordGrace.Minutes()), extra)
	return os.WriteFile(filepath.Join(dir, "smb.conf"), []byte(conf), 0o600)
}

// recipeHash names the state that this recipe and the installed Samba make.
func recipeHash() (string, error) {
	version, err := exec.Command("samba", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask samba for its version: %w", err)
	}
	h := sha256.New()
	for _, part := range [][]byte{version, provisionScript, []byte(confTemplate), []byte(adminPassword)} {
		fmt.Fprintf(h, "%d\n%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// provision makes the domain's state in dir, an empty folder.
func provision(dir string) error {
	// The address is not used: nothing listens, and DNS is off.
	if err := layOut(dir, "127.0.0.1", options{services: defaultServices}); err != nil {
		return fmt.Errorf("provision a domain: %w", err)
	}
	cmd := exec.Command(python, "-", filepath.Join(dir, "smb.conf"), realm, netbios, host, "127.0.0.1")
	script := filepath.Join(dir, "provision.py")
	if err := os.WriteFile(script, provisionScript, 0o600); err != nil {
		return fmt.Errorf("provision a domain: %w", err)
	}
	cmd.Args[1] = script
	cmd.Stdin = strings.NewReader(adminPassword + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("provision a domain in %s: %w:\n%s", dir, err, tail(out))
	}
	return nil
}

// tail is the end of a program's output, as much as one reads in an error.
func tail(out []byte) []byte {
	const most = 4 << 10
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return out
}
