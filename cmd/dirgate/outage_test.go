package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store/secret"
)

type noAnswer struct{}

func (noAnswer) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// TestReadyTellsOfOutage: an outage of JumpCloud is told, and takes nobody out
// of service.
func TestReadyTellsOfOutage(t *testing.T) {
	c, err := jumpcloud.New(jumpcloud.Config{URL: "https://jc.example.test", APIKey: secret.New([]byte("key")), HTTP: &http.Client{Transport: noAnswer{}}})
	if err != nil {
		t.Fatal(err)
	}
	d := &domains{connected: map[string]*connection{"corp.example.test": {peers: &replicate.Peers{JumpCloud: c}}}}
	ready := d.withOutages(func(context.Context) error { return nil })
	if err := ready(t.Context()); err != nil {
		t.Fatalf("before the outage: %v", err)
	}
	for range 5 {
		if _, err := c.Once(time.Second).Organizations(t.Context()); err == nil {
			t.Fatal("it was answered")
		}
	}
	err = ready(t.Context())
	if _, ok := errors.AsType[*degraded](err); !ok || !strings.Contains(err.Error(), "away for corp.example.test since") {
		t.Errorf("during the outage: %v", err)
	}
	down := errors.New("no controller")
	if err := d.withOutages(func(context.Context) error { return down })(t.Context()); !errors.Is(err, down) {
		t.Errorf("what is worse goes first: %v", err)
	}
}
