package admin

import (
	"context"
	"fmt"

	"github.com/dirgate/dirgate/store"
)

const (
	pathVerify = "/v1/log/verify"
	pathAccept = "/v1/log/accept-loss"
)

type byWhom struct {
	Who string `json:"who"`
}

// Verify checks the whole change log.
func (l *Local) Verify(context.Context) (store.Report, error) { return l.Store.Verify() }

// AcceptLoss lets a damaged log go on.
func (l *Local) AcceptLoss(ctx context.Context, who string) (store.Report, error) {
	if who == "" {
		return store.Report{}, fmt.Errorf("accept loss: nobody was named")
	}
	return l.Store.AcceptLoss(ctx, who)
}

// Verify checks the whole change log.
func (c *Client) Verify(ctx context.Context) (store.Report, error) {
	return call[store.Report](ctx, c, pathVerify, nothing{})
}

// AcceptLoss lets a damaged log go on.
func (c *Client) AcceptLoss(ctx context.Context, who string) (store.Report, error) {
	return call[store.Report](ctx, c, pathAccept, byWhom{Who: who})
}
