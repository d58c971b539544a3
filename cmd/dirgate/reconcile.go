package main

import (
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/reconcile"
	"github.com/dirgate/dirgate/store"
)

// reconciler makes the reconciler of a registered domain, and what ends it.
func (d *domains) reconciler(reg store.Domain) (*reconcile.Reconciler, func(), error) {
	c, err := d.get(reg.Name)
	if err != nil {
		return nil, nil, err
	}
	password, err := d.store.Credential(reg.Name, store.CredImportPassword, d.opener)
	if err != nil {
		return nil, nil, err
	}
	defer password.Wipe()
	reader, err := ad.NewReader(ad.ReaderConfig{Config: ad.Config{DCs: c.dcs, Account: reg.ImportAccount, Password: password.Clone(),
		RootDN: reg.RootDN, ScopeGroup: reg.ScopeGroup, ScopeGroupGUID: reg.ScopeGroupGUID}})
	if err != nil {
		return nil, nil, err
	}
	im, err := reconcile.New(reconcile.Config{Store: d.store, Domain: reg, Reader: reader, AD: c.peers.AD, JumpCloud: c.peers.JumpCloud,
		Log: d.log.With("in", "import"), Now: time.Now})
	if err != nil {
		reader.Close()
		return nil, nil, err
	}
	return im, reader.Close, nil
}
