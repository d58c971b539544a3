package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// program is what the comparison has a column for.
type program struct {
	name string
	// binary must be installed; "" needs none.
	binary string
	// start runs a fresh one on the rig's port; nil means the back end itself.
	start func(r *rig, profile string) (*process, error)
}

const (
	haproxyName  = "haproxy"
	backLDAPName = "back-ldap"
	dirgateName  = "dirgate"
)

var allPrograms = []program{
	{name: "direct"},
	{name: haproxyName, binary: "haproxy", start: startHAProxy},
	{name: backLDAPName, binary: "slapd", start: startBackLDAP},
	{name: dirgateName, start: startDirgate},
	{name: "copy", start: startCopy},
}

// defaultPrograms are those of a run without -proxies.
const defaultPrograms = "direct,haproxy,back-ldap,dirgate"

// findPrograms reads -proxies. Those not installed are returned as missing.
func findPrograms(list string) (found []program, missing []string, err error) {
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(allPrograms, func(p program) bool { return p.name == name })
		if i < 0 {
			return nil, nil, fmt.Errorf("-proxies: unknown %q", name)
		}
		p := allPrograms[i]
		if p.binary != "" && find(p.binary) == "" {
			missing = append(missing, fmt.Sprintf("%s (Debian: apt-get install %s)", p.name, p.binary))
			continue
		}
		found = append(found, p)
	}
	return found, missing, nil
}

// running is a program ready to be measured.
type running struct {
	*process
	server server
	end    func()
}

// run starts the program and waits until it answers.
func (p program) run(ctx context.Context, r *rig, profile string) (*running, error) {
	if p.start == nil {
		return &running{r.backend, r.direct(), func() {}}, nil
	}
	proc, err := p.start(r, profile)
	if err != nil {
		return nil, err
	}
	if err := proc.awaitAnswer(ctx, r.relayed()); err != nil {
		proc.end()
		return nil, err
	}
	return &running{proc, r.relayed(), proc.end}, nil
}

// startHAProxy runs a TCP relay. Its configuration wants certificate and key in
// one file.
func startHAProxy(r *rig, _ string) (*process, error) {
	cert, err := os.ReadFile(r.certFile)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(r.keyFile)
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`global
    nbthread %d
    maxconn %d
defaults
    mode tcp
    timeout connect 30s
    timeout client 15m
    timeout server 15m
frontend ldaps
    bind %s ssl crt %s ssl-min-ver TLSv1.2
    default_backend dc
backend dc
    server dc %s ssl verify required ca-file %s verifyhost %s sni str(%s)
`, r.threads, r.maxSessions, local(r.port), r.path("haproxy.pem"), local(r.backPort), r.backCA, host, host)
	err = errors.Join(
		os.WriteFile(r.path("haproxy.pem"), slices.Concat(cert, key), 0o600),
		os.WriteFile(r.path("haproxy.cfg"), []byte(conf), 0o600))
	if err != nil {
		return nil, err
	}
	return startProcess(r.dir, haproxyName, find("haproxy"), "-db", "-f", r.path("haproxy.cfg"))
}

// startBackLDAP runs a second slapd. With rebind-as-user the back end decides
// each bind, and a session's searches run as its user.
func startBackLDAP(r *rig, _ string) (*process, error) {
	conf := slapdConf("back_ldap", r.certFile, r.keyFile, r.backCA) + fmt.Sprintf(`database ldap
suffix %q
uri "ldaps://%s"
tls ldaps tls_cacert=%s tls_reqcert=demand
rebind-as-user yes
`, suffix, local(r.backPort), r.backCA)
	if err := os.WriteFile(r.path("back-ldap.conf"), []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return startProcess(r.dir, backLDAPName, r.slapd, "-d", "0", "-f", r.path("back-ldap.conf"), "-h", "ldaps://"+local(r.port))
}

func startDirgate(r *rig, profile string) (*process, error) {
	return startChild(r, dirgateName, profile)
}

func startCopy(r *rig, profile string) (*process, error) {
	return startChild(r, "copy", profile)
}

// startChild runs this program again as one of its relays; see child.
func startChild(r *rig, mode, profile string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startProcess(r.dir, mode, self, childCommand, "-mode", mode, "-listen", local(r.port),
		"-to", strconv.Itoa(r.backPort), "-sessions", strconv.Itoa(r.maxSessions),
		"-ca", r.backCA, "-cert", r.certFile, "-key", r.keyFile, "-profile", profile)
}
