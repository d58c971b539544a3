package samba

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// An Option changes how a DC is set up.
type Option func(*options)

type options struct {
	model            string
	services         string
	settings         []string
	oldPasswordGrace time.Duration
	policy           map[string]string // attributes of the domain's head
}

func defaults() options {
	return options{model: "single", services: defaultServices, policy: make(map[string]string)}
}

// Prefork serves connections in parallel, by several processes, which costs
// memory, and delays change notifications by up to 5 s.
func Prefork() Option { return func(o *options) { o.model = "prefork" } }

// Services replaces the services that run, "ldap": "kdc" adds Kerberos and
// kpasswd, "cldap" answers DC pings, "rpc" serves samba-tool drs.
func Services(list string) Option { return func(o *options) { o.services = list } }

// Setting adds a line to the global section of smb.conf.
func Setting(line string) Option {
	return func(o *options) { o.settings = append(o.settings, line) }
}

// OldPasswordGrace is how long the previous password still binds after it was
// replaced, in whole minutes: 60 on Windows and by Samba's default, 0 here.
func OldPasswordGrace(d time.Duration) Option {
	return func(o *options) { o.oldPasswordGrace = d }
}

// Lockout locks an account after threshold wrong passwords, for the duration,
// counted within the duration.
func Lockout(threshold int, duration time.Duration) Option {
	return func(o *options) {
		o.policy["lockoutThreshold"] = strconv.Itoa(threshold)
		o.policy["lockoutDuration"] = interval(duration)
		o.policy["lockOutObservationWindow"] = interval(duration)
	}
}

// Policy sets an attribute of the domain's head, such as minPwdLength.
// Durations there are negative numbers of 100 ns.
func Policy(attribute, value string) Option {
	return func(o *options) { o.policy[attribute] = value }
}

// interval is a duration as AD stores it (MS-ADTS 3.1.1.2.2.2, Interval).
func interval(d time.Duration) string { return strconv.FormatInt(-int64(d/100), 10) }

// applyPolicy writes the policy that differs from the provisioned one.
func (dc *DC) applyPolicy() error {
	if len(dc.options.policy) == 0 {
		return nil
	}
	conn, err := dc.dialAdmin(requestTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	req := ldap.NewModifyRequest(dc.BaseDN, nil)
	for _, name := range slices.Sorted(maps.Keys(dc.options.policy)) {
		req.Replace(name, []string{dc.options.policy[name]})
	}
	if err := conn.Modify(req); err != nil {
		return fmt.Errorf("set the domain's policy: %w", err)
	}
	return nil
}
