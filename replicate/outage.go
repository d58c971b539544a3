package replicate

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store/identity"
)

// outages are the domains whose JumpCloud is away, with the changes that wait
// for it: eight bytes for each, and no attempt, record or log line. It belongs
// to the dispatcher's goroutine.
type outages struct {
	of      map[string]*outage // by domain
	back    chan string        // a domain whose JumpCloud is back
	ctx     context.Context    // of run; nil: nobody waits for the end
	waiters sync.WaitGroup
}

type outage struct {
	client *jumpcloud.Client
	held   map[identity.Seq]struct{}
	stop   context.CancelFunc
}

// begin holds a change that met an outage; false: nobody would end it.
func (o *outages) begin(entry identity.Entry, client *jumpcloud.Client) bool {
	if o.ctx == nil {
		return false
	}
	domain := entry.Account.Domain
	if o.of[domain] == nil {
		ctx, stop := context.WithCancel(o.ctx)
		o.of[domain] = &outage{client: client, held: make(map[identity.Seq]struct{}), stop: stop}
		o.waiters.Go(func() { // ends with ctx, which end and run see to
			if client.Await(ctx) != nil {
				return
			}
			select {
			case o.back <- domain:
			case <-ctx.Done():
			}
		})
	}
	return o.hold(entry)
}

// hold keeps a change if its domain's JumpCloud is away.
func (o *outages) hold(entry identity.Entry) bool {
	away := o.of[entry.Account.Domain]
	if away != nil {
		away.held[entry.Seq] = struct{}{}
	}
	return away != nil
}

func (o *outages) holds(entry identity.Entry) bool {
	away := o.of[entry.Account.Domain]
	if away == nil {
		return false
	}
	_, held := away.held[entry.Seq]
	return held
}

// end returns what was held, in order.
func (o *outages) end(domain string) []identity.Seq {
	away := o.of[domain]
	if away == nil {
		return nil
	}
	away.stop()
	delete(o.of, domain)
	seqs := make([]identity.Seq, 0, len(away.held))
	for seq := range away.held {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	return seqs
}

// ended returns what was held for clients that have been replaced: another key
// or address may be answered at once.
func (o *outages) ended(peers func(string) (*Peers, error)) (seqs []identity.Seq) {
	for domain, away := range o.of {
		if now, err := peers(domain); err != nil || now.JumpCloud != away.client {
			seqs = append(seqs, o.end(domain)...)
		}
	}
	return seqs
}

// release makes changes due that an outage held.
func (d *dispatcher) release(seqs []identity.Seq) {
	for _, seq := range seqs {
		d.hurry[seq] = true
		d.queue.put(seq, time.Time{})
	}
}

// putBack leaves a change as it is, since JumpCloud is away: it is held, or
// comes back when JumpCloud may be asked again.
func (e *Engine) putBack(j *job) (retry time.Time, err error) {
	j.away = true
	retry = e.cfg.Now().Add(time.Second)
	if out, away := j.peers.JumpCloud.Outage(); away {
		retry = e.cfg.Now().Add(max(time.Second, time.Until(out.Retry)))
	}
	return retry, nil
}
