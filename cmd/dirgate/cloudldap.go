package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dirgate/dirgate/gateway"
	"github.com/dirgate/dirgate/gateway/ldapwire"
	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/store/secret"
)

// cloudBinder tests passwords at JumpCloud's LDAP, for the engine.
type cloudBinder struct {
	dialer gateway.Dialer
	base   string // the DN below which the users are
}

// newCloudBinder gives nil where there is no LDAP of JumpCloud.
func newCloudBinder(cloud *gateway.Domain) replicate.CloudLDAP {
	if cloud == nil {
		return nil
	}
	return cloudBinder{cloud.DCs, "ou=Users," + cloud.BaseDN}
}

const (
	cloudBindTime = 10 * time.Second // of one test
	cloudBindSize = 64 << 10         // of its answer, in bytes
)

// TestPassword makes one bind (see [replicate.CloudLDAP]).
func (b cloudBinder) TestPassword(ctx context.Context, username string, password secret.Bytes, before func() error) (right bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cloudBindTime)
	defer cancel()
	if password.IsEmpty() {
		return false, errors.New("bind at JumpCloud's LDAP: no password, so it would prove nothing (RFC 4513 section 5.1.2)")
	}
	conn, _, err := b.dialer.Dial(ctx)
	if err != nil {
		return false, fmt.Errorf("dial JumpCloud's LDAP: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := before(); err != nil {
		return false, err
	}
	frame := ldapwire.AppendBindRequest(nil, 1, "uid="+username+","+b.base, password.Expose())
	_, err = conn.Write(frame)
	clear(frame)
	if err != nil {
		return false, fmt.Errorf("bind at JumpCloud's LDAP as %q: %w", username, err)
	}
	msg, err := ldapwire.NewReader(conn, cloudBindSize).Next()
	if err != nil {
		return false, fmt.Errorf("bind at JumpCloud's LDAP as %q: %w", username, err)
	}
	res, _, _, err := ldapwire.ParseBindResponse(msg.Body)
	switch {
	case err != nil || msg.ID != 1 || msg.Op != ldapwire.OpBindResponse:
		return false, fmt.Errorf("bind at JumpCloud's LDAP as %q: the answer is not one to a bind", username)
	case res.Code == ldapwire.ResultSuccess:
		return true, nil
	case res.Code == ldapwire.ResultInvalidCredentials:
		return false, nil
	}
	return false, fmt.Errorf("bind at JumpCloud's LDAP as %q: the answer is %s", username, res.Code)
}
