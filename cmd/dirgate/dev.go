package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dirgate/dirgate/cmd/internal/admin"
	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/delegate"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/jcsim"
	"github.com/urfave/cli/v2"
)

// Offsets of --listen-base. +3 belongs to a listener that this version does not
// have.
const (
	offsetLDAPS         = 0
	offsetLDAP          = 1
	offsetDelegate      = 2
	offsetMetrics       = 4
	offsetJumpCloud     = 5
	offsetJumpCloudLDAP = 6
	offsetAD            = 7
)

// Names and passwords of the embedded directories. They are printed, and hold
// nothing but sample people, on loopback.
const (
	devDomain          = "corp.example.test"
	devServiceAccount  = "svc-dirgate"
	devPassword        = "Start.Pass1"
	devAdminPassword   = "Admin.Pass1"
	devServicePassword = "Service.Pass1"
)

func devCommand(io streams) *cli.Command {
	flags := func() []cli.Flag {
		return []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print one line of JSON when everything is ready"},
			&cli.IntFlag{Name: "listen-base", Usage: "first of eight `PORT`s: +0 LDAPS, +1 LDAP with StartTLS, +2 validation API, +4 metrics, +5 JumpCloud API, +6 JumpCloud LDAPS, +7 AD LDAPS (default: free ports)"},
			&cli.StringFlag{Name: "dir", Usage: "empty or new `FOLDER` to work in, which is kept (default: a temporary one)"},
		}
	}
	one := func(name, usage string, start func(*devWorld) error) *cli.Command {
		return command(&cli.Command{Name: name, Usage: usage, Flags: flags(), Action: func(c *cli.Context) error {
			return runDev(c, io, start)
		}}, 0)
	}
	dev := one("dev", "run everything in one process, between an embedded AD and an embedded JumpCloud", (*devWorld).startAll)
	do := dev.Action
	dev.Subcommands = []*cli.Command{
		one("ad", "run the embedded AD alone", (*devWorld).startAD),
		one("jumpcloud", "run the embedded JumpCloud alone", (*devWorld).startJumpCloud),
	}
	dev.Action = do
	return dev
}

// runDev starts what start says, prints it and runs until interrupted.
func runDev(c *cli.Context, io streams, start func(*devWorld) error) (err error) {
	w := &devWorld{c: c, io: io}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.prepare(); err != nil {
		return fmt.Errorf("dev: %w", err)
	}
	if err := start(w); err != nil {
		return fmt.Errorf("dev: %w", err)
	}
	if c.Bool("json") {
		err = json.NewEncoder(io.out).Encode(w.facts)
	} else {
		err = w.print()
	}
	if err != nil {
		return err
	}
	if w.daemon == nil {
		<-c.Context.Done()
		return nil
	}
	d := w.daemon
	w.daemon = nil // run closes it
	return d.run(c.Context, nil)
}

// devFacts is what `dev --json` prints: one line, when everything is ready.
// An address is empty when there is no such listener.
type devFacts struct {
	LDAPS         string    `json:"ldaps_url"`
	LDAP          string    `json:"ldap_url"`
	Delegate      string    `json:"delegate_url"`
	Console       string    `json:"console_url"`
	Metrics       string    `json:"metrics_url"`
	JumpCloud     string    `json:"jumpcloud_url"`
	JumpCloudLDAP string    `json:"jumpcloud_ldap_url"`
	APIKey        string    `json:"jumpcloud_api_key"`
	OrgID         string    `json:"jumpcloud_org_id"`
	CAFile        string    `json:"ca_file"`
	Config        string    `json:"config"`
	AdminSocket   string    `json:"admin_socket"`
	Domain        string    `json:"domain"`
	BaseDN        string    `json:"base_dn"`
	DelegateToken string    `json:"delegate_token"`
	Users         []devUser `json:"users"`
	Admin         devAdmin  `json:"admin"`
	AD            string    `json:"ad_url"`
}

type devUser struct {
	DN       string `json:"dn"`
	UPN      string `json:"upn"`
	SAM      string `json:"sam"`
	Password string `json:"password"`
}

type devAdmin struct {
	DN       string `json:"dn"`
	Password string `json:"password"`
}

// devWorld is what dev runs.
type devWorld struct {
	c     *cli.Context
	io    streams
	temp  string // to be removed; empty with --dir
	facts devFacts

	setup  installation
	cfg    *config.Config
	ad     *adsim.Server
	cloud  *jcsim.Server
	daemon *daemon
}

// prepare makes the folder and the installation in it.
func (w *devWorld) prepare() (err error) {
	if b := w.c.Int("listen-base"); b < 0 || b > 65535-offsetAD {
		return usagef("--listen-base %d: want 1 to %d", b, 65535-offsetAD)
	}
	dir := w.c.String("dir")
	if dir == "" {
		if w.temp, err = os.MkdirTemp("", "dirgate-dev-"); err != nil {
			return err
		}
		dir = w.temp
	}
	w.setup = installation{path: filepath.Join(dir, "dirgate.yaml"), hosts: []string{"localhost", "127.0.0.1", "::1"},
		listen: w.address(offsetLDAPS), ldap: w.address(offsetLDAP), metrics: w.address(offsetMetrics), delegate: w.address(offsetDelegate)}
	if w.cfg, err = w.setup.create(); err != nil {
		return err
	}
	w.facts.CAFile, w.facts.Config = w.setup.caFile(), w.cfg.Path
	return nil
}

// address is the loopback address of a listener.
func (w *devWorld) address(offset int) string {
	port := 0
	if base := w.c.Int("listen-base"); base > 0 {
		port = base + offset
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func (w *devWorld) startAD() (err error) {
	conf, err := w.setup.serverTLS()
	if err != nil {
		return err
	}
	adminPassword, password := secret.New([]byte(devAdminPassword)), secret.New([]byte(devPassword))
	if w.ad, err = adsim.Start(adsim.Config{Addr: w.address(offsetAD), TLS: conf, Domain: devDomain, AdminPassword: adminPassword}); err != nil {
		return err
	}
	people, err := adsim.Populate(w.ad.Directory, password)
	if err != nil {
		return err
	}
	if _, err := w.ad.AddUser(adsim.User{Name: devServiceAccount, Password: secret.New([]byte(devServicePassword)), Container: "OU=Service," + w.ad.BaseDN()}); err != nil {
		return err
	}
	for _, p := range people {
		w.facts.Users = append(w.facts.Users, devUser{DN: p.DN, UPN: p.UPN, SAM: p.Name, Password: devPassword})
	}
	w.facts.AD, w.facts.Domain, w.facts.BaseDN = w.ad.URL(), w.ad.Domain(), w.ad.BaseDN()
	w.facts.Admin = devAdmin{DN: w.ad.AdminDN(), Password: devAdminPassword}
	return nil
}

func (w *devWorld) startJumpCloud() (err error) {
	conf, err := w.setup.serverTLS()
	if err != nil {
		return err
	}
	w.cloud, err = jcsim.Start(jcsim.Config{Addr: w.address(offsetJumpCloud), LDAPAddr: w.address(offsetJumpCloudLDAP), TLS: conf})
	if err != nil {
		return err
	}
	w.facts.JumpCloud, w.facts.JumpCloudLDAP = w.cloud.URL(), w.cloud.LDAPURL()
	w.facts.OrgID, w.facts.APIKey = w.cloud.OrgID(), string(w.cloud.APIKey().Expose())
	return nil
}

// startAll starts both simulators with the same people, registers the domain
// and makes the daemon.
func (w *devWorld) startAll() error {
	for _, start := range []func() error{w.startAD, w.startJumpCloud, w.addToJumpCloud, w.startDaemon, w.register, w.makeToken} {
		if err := start(); err != nil {
			return err
		}
	}
	return nil
}

// addToJumpCloud adds the people of the embedded AD, under the names they have
// there.
func (w *devWorld) addToJumpCloud() error {
	reader, err := w.ad.Bind(w.facts.Admin.DN, []byte(devAdminPassword))
	if err != nil {
		return err
	}
	all, err := adsim.FilterFromText("(objectClass=user)")
	if err != nil {
		return err
	}
	for _, u := range w.facts.Users {
		found, _, err := w.ad.Search(reader, adsim.Search{Base: u.DN, Scope: ldapwire.ScopeBase, Filter: all, Attributes: []string{"givenName", "sn", "mail"}})
		if err != nil {
			return fmt.Errorf("read %s: %w", u.SAM, err)
		}
		values := make(map[string]string)
		for _, a := range found[0].Attributes {
			values[a.Name] = a.Values[0]
		}
		_, err = w.cloud.AddUser(jcsim.User{Username: u.SAM, Email: values["mail"], FirstName: values["givenName"], LastName: values["sn"],
			Password: secret.New([]byte(devPassword)), LDAPBindingUser: true})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *devWorld) startDaemon() error {
	level := w.c.String("log-level")
	if level == "" {
		level = "warn" // what is printed to try should stay in sight
	}
	log, err := newLog(w.io.err, w.cfg, level)
	if err != nil {
		return err
	}
	if w.daemon, err = newDaemon(w.c.Context, w.cfg, allRoles, log); err != nil {
		return err
	}
	w.facts.LDAPS = "ldaps://" + w.daemon.ldaps.Addr().String()
	w.facts.LDAP = "ldap://" + w.daemon.ldap.Addr().String()
	w.facts.Delegate = "https://" + w.daemon.delegate.listener.Addr().String()
	w.facts.Metrics = "http://" + w.daemon.metrics.Addr().String()
	w.facts.AdminSocket = w.cfg.Admin.Socket
	return nil
}

// register registers the embedded domain as an administrator would a real
// one.
func (w *devWorld) register() error {
	ca, err := os.ReadFile(w.setup.caFile())
	if err != nil {
		return err
	}
	answer, err := localOn(w.daemon.opened.store, w.daemon.domains).Register(context.WithoutCancel(w.c.Context), admin.RegisterRequest{
		Name: w.ad.Domain(), DCs: []string{w.ad.URL()}, CAPEM: new(string(ca)),
		ScopeGroup:    new("CN=" + adsim.ScopeGroup + ",OU=Groups," + w.ad.BaseDN()),
		ImportAccount: new(devServiceAccount + "@" + devDomain), ImportPassword: []byte(devServicePassword),
		JumpCloudURL: new(w.cloud.URL()), JumpCloudLDAP: new(w.cloud.LDAPURL()), JumpCloudCAPEM: new(string(ca)),
		JumpCloudOrgID: new(w.cloud.OrgID()), JumpCloudAPIKey: []byte(w.facts.APIKey),
	})
	if err != nil {
		return err
	}
	// As where an import agent has run for a while: AD checks sign-ins, so that
	// each of the people shows what AD says of its state.
	return w.cloud.SetDelegation(answer.Domain.JumpCloud.ADID, string(delegate.DelegationEnabled))
}

// makeToken makes a token that may do everything, for the time that dev runs.
func (w *devWorld) makeToken() error {
	made, err := localOn(w.daemon.opened.store, w.daemon.domains).CreateToken(context.WithoutCancel(w.c.Context), admin.TokenRequest{
		Name: "dev", Scopes: []string{store.ScopeValidate, store.ScopeChange, store.ScopeStatus}, Life: 30 * 24 * time.Hour})
	w.facts.DelegateToken = made.Text
	return err
}

func (w *devWorld) close() error {
	var errs []error
	if w.daemon != nil {
		w.daemon.close()
	}
	if w.ad != nil {
		errs = append(errs, w.ad.Close())
	}
	if w.cloud != nil {
		errs = append(errs, w.cloud.Close())
	}
	if w.temp != "" {
		errs = append(errs, os.RemoveAll(w.temp))
	}
	return errors.Join(errs...)
}
