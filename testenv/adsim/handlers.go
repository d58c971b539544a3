package adsim

import (
	"errors"
	"fmt"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/jimlambrt/gldap"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// A handler serves a request of gldap's for a session.
type handler func(s *session, w *gldap.ResponseWriter, r *gldap.Request) gldap.Response

func (in *inner) routes() (*gldap.Mux, error) {
	mux, err := gldap.NewMux()
	if err != nil {
		return nil, err
	}
	return mux, errors.Join(
		mux.Bind(in.handleBind),
		mux.Search(in.handle(gldap.ApplicationSearchResultDone, handleSearch)),
		mux.Modify(in.handle(gldap.ApplicationModifyResponse, handleModify)),
		mux.Add(in.handle(gldap.ApplicationAddResponse, handleAdd)),
		mux.Delete(in.handle(gldap.ApplicationDelResponse, handleDelete)),
	)
}

// handle finds the session of a request. gldap runs handlers in goroutines of
// their own that nothing recovers, so a panic is turned into an answer here.
func (in *inner) handle(application int, h handler) gldap.HandlerFunc {
	return func(w *gldap.ResponseWriter, r *gldap.Request) {
		defer func() {
			if p := recover(); p != nil {
				_ = w.Write(general(r, application, &Refusal{Code: ldapwire.ResultOther, Text: fmt.Sprintf("internal error: %v", p)}))
			}
		}()
		s := in.owner(r)
		if s == nil {
			_ = w.Write(general(r, application, notBound()))
			return
		}
		// If the answer cannot be written the front has gone, and closes.
		_ = w.Write(h(s, w, r))
	}
}

func general(r *gldap.Request, application int, refusal *Refusal) gldap.Response {
	return r.NewResponse(gldap.WithApplicationCode(application), gldap.WithResponseCode(int(refusal.Code)),
		gldap.WithDiagnosticMessage(refusal.Text), gldap.WithMatchedDN(refusal.MatchedDN))
}

// handleBind takes the token that opens a connection, and binds after it.
func (in *inner) handleBind(w *gldap.ResponseWriter, r *gldap.Request) {
	result := &Refusal{Code: ldapwire.ResultOther, Text: "internal error"}
	defer func() {
		_ = recover()
		resp := r.NewBindResponse(gldap.WithResponseCode(int(result.Code)))
		resp.SetDiagnosticMessage(result.Text)
		_ = w.Write(resp)
	}()
	m, err := r.GetSimpleBindMessage()
	if err != nil {
		return
	}
	if s := in.owner(r); s != nil {
		password := []byte(m.Password)
		defer clear(password)
		result = refusalOf(s.bind(m.UserName, password))
		return
	}
	if in.claim(r, m.UserName) {
		result = &Refusal{Text: in.proof}
	}
}

func handleSearch(s *session, w *gldap.ResponseWriter, r *gldap.Request) gldap.Response {
	m, err := r.GetSearchMessage()
	if err != nil {
		return general(r, gldap.ApplicationSearchResultDone, refusalOf(err))
	}
	filter, err := FilterFromText(m.Filter)
	if err != nil {
		return general(r, gldap.ApplicationSearchResultDone, badFilter())
	}
	var c controls
	for _, ctl := range m.Controls {
		if p, ok := ctl.(*gldap.ControlPaging); ok {
			c.paged, c.page, c.cookie = true, int(p.PagingSize), string(p.Cookie)
		}
	}
	entries, _, cookie, err := s.search(Search{Base: m.BaseDN, Scope: int(m.Scope), SizeLimit: int(m.SizeLimit),
		TypesOnly: m.TypesOnly, Filter: filter, Attributes: m.Attributes}, c)
	for _, e := range entries {
		resp := r.NewSearchResponseEntry(e.DN)
		for _, a := range e.Attributes {
			resp.AddAttribute(a.Name, a.Values)
		}
		if err := w.Write(resp); err != nil {
			break // the front has gone
		}
	}
	result := refusalOf(err)
	done := r.NewSearchDoneResponse(gldap.WithResponseCode(int(result.Code)))
	done.SetDiagnosticMessage(result.Text)
	done.SetMatchedDN(result.MatchedDN)
	if c.paged && err == nil {
		paging, err := gldap.NewControlPaging(0)
		if err == nil {
			paging.SetCookie([]byte(cookie))
			done.SetControls(paging)
		}
	}
	return done
}

func handleModify(s *session, _ *gldap.ResponseWriter, r *gldap.Request) gldap.Response {
	m, err := r.GetModifyMessage()
	if err != nil {
		return general(r, gldap.ApplicationModifyResponse, refusalOf(err))
	}
	var changes []Change
	for _, c := range m.Changes {
		change := Change{Op: ldapwire.ModOp(c.Operation), Name: c.Modification.Type}
		for _, raw := range c.Modification.Vals {
			value, err := elementContents(raw)
			if err != nil {
				return general(r, gldap.ApplicationModifyResponse, refusalOf(err))
			}
			change.Values = append(change.Values, value)
		}
		changes = append(changes, change)
	}
	err = s.srv.Modify(s.identity(), m.DN, changes, false)
	return general(r, gldap.ApplicationModifyResponse, refusalOf(err))
}

// elementContents takes the header off a value: gldap hands over the contents
// of the set of values as one string, header and all.
func elementContents(raw string) (string, error) {
	p, err := ber.DecodePacketErr([]byte(raw))
	if err != nil {
		return "", fmt.Errorf("decode a value: %w", err)
	}
	return text(p), nil
}

func handleAdd(s *session, _ *gldap.ResponseWriter, r *gldap.Request) gldap.Response {
	m, err := r.GetAddMessage()
	if err != nil {
		return general(r, gldap.ApplicationAddResponse, refusalOf(err))
	}
	var attrs []Attribute
	for _, a := range m.Attributes {
		attrs = append(attrs, Attribute{a.Type, a.Vals})
	}
	err = s.srv.Add(s.identity(), m.DN, attrs)
	return general(r, gldap.ApplicationAddResponse, refusalOf(err))
}

func handleDelete(s *session, _ *gldap.ResponseWriter, r *gldap.Request) gldap.Response {
	m, err := r.GetDeleteMessage()
	if err != nil {
		return general(r, gldap.ApplicationDelResponse, refusalOf(err))
	}
	return general(r, gldap.ApplicationDelResponse, refusalOf(s.srv.Delete(s.identity(), m.DN)))
}
