package main

import (
	"context"
	"log/slog"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/store"
	"github.com/rogpeppe/go-internal/testscript"
)

// seed CONFIG registers corp.example.test in the store of an installation, as
// if both sides had been reached.
func seed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: seed CONFIG")
	}
	cfg, err := config.Load(ts.MkAbs(args[0]))
	ts.Check(err)
	opened, err := openStore(cfg, slog.New(slog.DiscardHandler))
	ts.Check(err)
	defer func() { ts.Check(opened.close()) }()
	ts.Check(opened.store.PutDomain(context.Background(), store.Domain{Name: "corp.example.test", BaseDN: "DC=corp,DC=example,DC=test",
		DCs: []string{"ldaps://dc1.corp.example.test"}, UseCase: store.UseCaseAD, PasswordSync: store.PasswordSyncCapture,
		JumpCloud: store.JumpCloudRegistration{URL: "https://jumpcloud.example.test", ADID: "5f0000000000000000000001"}}, nil))
}
