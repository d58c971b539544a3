package main

import (
	"fmt"
	"strings"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/gateway/dc"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/secret"
)

// writerConfig is that of a writer under the sync account of a domain. A root
// container that is the whole domain has no place for new objects, which are
// then made in CN=Users.
func writerConfig(reg store.Domain, dcs ad.Dialer, syncPassword secret.Bytes) ad.WriterConfig {
	root := reg.RootDN
	if strings.EqualFold(root, reg.BaseDN) {
		root = ""
	}
	return ad.WriterConfig{Config: ad.Config{DCs: dcs, Account: reg.SyncAccount, Password: syncPassword.Clone(), RootDN: root,
		ScopeGroup: reg.ScopeGroup, ScopeGroupGUID: reg.ScopeGroupGUID}}
}

// where says which controllers a registration has.
func (d *domains) where(reg store.Domain) (dc.Config, error) {
	conf, err := certs.Client(reg.CAPEM, "")
	if err != nil {
		return dc.Config{}, fmt.Errorf("CA of the domain controllers of %s: %w", reg.Name, err)
	}
	where := dc.Config{URLs: reg.DCs, TLS: conf}
	if reg.Discover {
		where.Discover, where.Site, where.Resolver = reg.Name, reg.Site, resolverOf(d.cfg.DNSServer)
	}
	return where, nil
}

// writerOf makes a writer for one operation, for an unstored registration.
func (d *domains) writerOf(reg store.Domain, syncPassword secret.Bytes) (*ad.Writer, error) {
	where, err := d.where(reg)
	if err != nil {
		return nil, err
	}
	set, err := dc.New(where)
	if err != nil {
		return nil, err
	}
	return ad.NewWriter(writerConfig(reg, set, syncPassword))
}
