package jcsim

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// directory is an Active Directory object, under the names of the v2 document.
type directory struct {
	ID                 string `json:"id"`
	Domain             string `json:"domain"`
	UseCase            string `json:"useCase"`
	GroupsEnabled      bool   `json:"groupsEnabled"`
	DelegationState    string `json:"delegationState"`
	PrimaryAgent       string `json:"primaryAgent"`
	PrimaryImportAgent string `json:"primaryImportAgent"`
	UpdatedAt          string `json:"updatedAt"`
	Permission         string `json:"permission"`
	OrganizationID     string `json:"organizationId"`
	agents             []*agent
	users, groups      edges            // bound directly
	rules              []map[string]any // translation rules
}

// agent is an agent as lists show it; the connect key is shown once, when it
// is made, and not kept.
type agent struct {
	ID                string  `json:"id"`
	AgentType         string  `json:"agentType"`
	State             string  `json:"state"`
	Hostname          *string `json:"hostname"`
	HostType          *string `json:"hostType"`
	Version           *string `json:"version"`
	ContactAt         *string `json:"contactAt"`
	PasswordUpdatedAt *string `json:"passwordUpdatedAt"`
	SourceIP          *string `json:"source_ip"`
}

func (s *Server) withDirectory(call func(request, *directory) answer) func(request) answer {
	return func(r request) answer {
		if d := s.directory(r.PathValue("id")); d != nil {
			return call(r, d)
		}
		return failure(http.StatusNotFound, "Not Found")
	}
}

func (s *Server) directory(id string) *directory {
	for _, d := range s.directories {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// listed is a v2 list: a bare array, with the total in one header and the
// next page in another.
func listed[T any](r request, all []T) answer {
	return listedAs(r, all, func(row T) T { return row })
}

// listedAs is listed of rows that are shown in another form.
func listedAs[T, R any](r request, all []T, show func(T) R) answer {
	limit, skip, err := r.bounds()
	if err != nil {
		return refuse(err)
	}
	rows := []R{}
	for _, row := range page(all, limit, skip) {
		rows = append(rows, show(row))
	}
	a := success(http.StatusOK, rows)
	a.header.Set("x-total-count", strconv.Itoa(len(all)))
	if skip+limit < len(all) {
		query := r.URL.Query()
		query.Set("limit", strconv.Itoa(limit))
		query.Set("skip", strconv.Itoa(skip+limit))
		a.header.Set("Link", "<https://"+r.Host+r.URL.Path+"?"+query.Encode()+`>; rel="next"`)
	}
	return a
}

func (s *Server) listDirectories(r request) answer { return listed(r, s.directories) }

var domainForm = regexp.MustCompile(`^(?i:DC=[^;,=]+)(;(?i:DC=[^;,=]+))*$`)

func (s *Server) postDirectory(r request) answer {
	var in directory
	if err := r.decode(&in); err != nil {
		return refuse(err)
	}
	if !domainForm.MatchString(in.Domain) {
		return refuse(invalid("domain must have the form DC=corp;DC=example"))
	}
	for _, d := range s.directories {
		if strings.EqualFold(d.Domain, in.Domain) {
			return failure(http.StatusConflict, "an Active Directory with that domain exists")
		}
	}
	d := &directory{ID: s.newID(), Domain: in.Domain, UseCase: "UNSET", DelegationState: "DISABLED",
		Permission: "PERMISSION_OWNER", OrganizationID: s.orgID}
	if a, ok := s.change(d, in.UseCase, in.DelegationState, &in.GroupsEnabled); !ok {
		return a
	}
	s.directories = append(s.directories, d)
	s.event(r.by, "activedirectory_create", resource("active_directory", d.ID, nil), nil)
	return success(http.StatusCreated, d)
}

// change sets what is given, or answers what is wrong with it.
func (s *Server) change(d *directory, useCase, delegation string, groups *bool) (answer, bool) {
	if useCase != "" && !slices.Contains([]string{"UNSET", "TWOWAYSYNC", "JCASAUTHORITY", "ADASAUTHORITY"}, useCase) {
		return refuse(invalid("useCase is not known")), false
	}
	if delegation != "" && !slices.Contains([]string{"ENABLED", "PENDING", "DISABLED"}, delegation) {
		return refuse(invalid("delegationState is not known")), false
	}
	if useCase != "" {
		d.UseCase = useCase
	}
	if delegation != "" {
		d.DelegationState = delegation
		if delegation == "ENABLED" { // until an import agent reports: AgentReports
			d.DelegationState = "PENDING"
		}
	}
	if groups != nil {
		d.GroupsEnabled = *groups
	}
	d.UpdatedAt = stamp(s.now())
	return answer{}, true
}

func (s *Server) getDirectory(_ request, d *directory) answer { return success(http.StatusOK, d) }

func (s *Server) patchDirectory(r request, d *directory) answer {
	var in struct {
		UseCase         string `json:"useCase"`
		DelegationState string `json:"delegationState"`
		GroupsEnabled   *bool  `json:"groupsEnabled"`
	}
	if err := r.decode(&in); err != nil {
		return refuse(err)
	}
	if a, ok := s.change(d, in.UseCase, in.DelegationState, in.GroupsEnabled); !ok {
		return a
	}
	return success(http.StatusOK, d)
}

func (s *Server) deleteDirectory(r request, d *directory) answer {
	s.event(r.by, "activedirectory_delete", resource("active_directory", d.ID, nil), nil)
	s.directories = slices.DeleteFunc(s.directories, func(other *directory) bool { return other == d })
	return success(http.StatusOK, d)
}

func (s *Server) listAgents(r request, d *directory) answer { return listed(r, d.agents) }

func (s *Server) postAgent(r request, d *directory) answer {
	var in agent
	if err := r.decode(&in); err != nil {
		return refuse(err)
	}
	a := &agent{ID: s.newID(), AgentType: in.AgentType, State: "unsealed"}
	primary := &d.PrimaryAgent
	switch in.AgentType {
	case "IMPORT":
		primary = &d.PrimaryImportAgent
	case "SYNC":
	default:
		return refuse(invalid("agentType must be IMPORT or SYNC"))
	}
	if *primary == "" {
		*primary = a.ID
	}
	d.agents = append(d.agents, a)
	return success(http.StatusCreated, map[string]any{"id": a.ID, "connectKey": randomHex(20), "state": a.State,
		"hostname": nil, "hostType": nil, "version": nil, "contactAt": nil, "passwordUpdatedAt": nil, "source_ip": nil})
}

// AgentReports stands for one of JumpCloud's own agents that has begun to work,
// in the closed protocol that only they speak: its record becomes active, and a
// delegation that waited for an import agent is enabled.
func (s *Server) AgentReports(id, hostname, version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.directories {
		a := d.agent(id)
		if a == nil {
			continue
		}
		host, at := "MEMBER_SERVER", stamp(s.now())
		a.State, a.Hostname, a.HostType, a.Version, a.ContactAt = "active", &hostname, &host, &version, &at
		if a.AgentType == "IMPORT" && d.DelegationState == "PENDING" {
			d.DelegationState = "ENABLED"
		}
		return nil
	}
	return fmt.Errorf("report of agent %s: no such agent", id)
}

func (d *directory) agent(id string) *agent {
	for _, a := range d.agents {
		if a.ID == id {
			return a
		}
	}
	return nil
}

func (s *Server) getAgent(r request, d *directory) answer {
	if a := d.agent(r.PathValue("agent")); a != nil {
		return success(http.StatusOK, a)
	}
	return failure(http.StatusNotFound, "Not Found")
}

func (s *Server) deleteAgent(r request, d *directory) answer {
	a := d.agent(r.PathValue("agent"))
	if a == nil {
		return failure(http.StatusNotFound, "Not Found")
	}
	d.agents = slices.DeleteFunc(d.agents, func(other *agent) bool { return other == a })
	for primary, kind := range map[*string]string{&d.PrimaryAgent: "SYNC", &d.PrimaryImportAgent: "IMPORT"} {
		if *primary != a.ID {
			continue
		}
		*primary = ""
		if i := slices.IndexFunc(d.agents, func(other *agent) bool { return other.AgentType == kind }); i >= 0 {
			*primary = d.agents[i].ID
		}
	}
	return success(http.StatusNoContent, nil)
}
