package jumpcloud

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Field is one field of a user or group, and what it is to become. Names are
// JumpCloud's; those of lists have a path: phoneNumbers.TYPE, and
// addresses.work.PART. Text is as it is; besides:
//
//   - manager: the id of a user
//   - sudo: "true" or "false"
//   - restrictedFields: the names that only the AD object may write, with a
//     space between two
//   - delegatedAuthority: the id of the AD object that checks passwords
//   - external_password_expiration_date: RFC 3339
//   - state: one of the states of a user
//
// An empty value empties the field.
type Field struct{ Name, To string }

// textFields are the user's fields that are written as they are.
var textFields = strings.Fields(`username email firstname middlename lastname displayname description jobTitle
	department company costCenter location employeeType employeeIdentifier alternateEmail manager external_dn`)

const (
	fieldPhone    = "phoneNumbers."
	fieldAddress  = "addresses.work."
	fieldRestrict = "restrictedFields"

	typeWork             = "work"
	typeActiveDirectory  = "active_directory"
	nameActiveDirectory  = "ActiveDirectory"
	fieldExternalExpires = "external_password_expiration_date"
)

// listed reports whether a field is part of a list, which a write replaces as
// a whole: the rest of it must be known.
func (f Field) listed() bool {
	return strings.HasPrefix(f.Name, fieldPhone) || strings.HasPrefix(f.Name, fieldAddress) || f.Name == fieldRestrict
}

// userDocument is the partial document that sets the fields of a user who is
// as was says; adID is the AD object whose restricted fields are meant. was
// stays as it is.
func userDocument(fields []Field, adID string, was *User) (map[string]any, error) {
	doc := make(map[string]any)
	phones, addresses := slices.Clone(was.PhoneNumbers), slices.Clone(was.Addresses)
	for _, f := range fields {
		var err error
		switch kind, isPhone := strings.CutPrefix(f.Name, fieldPhone); {
		case isPhone:
			if kind == "" {
				err = errors.New("the type of the number is missing")
			}
			phones = setPhone(phones, kind, f.To)
			doc["phoneNumbers"] = phones
		case strings.HasPrefix(f.Name, fieldAddress):
			addresses, err = setAddress(addresses, strings.TrimPrefix(f.Name, fieldAddress), f.To)
			doc["addresses"] = addresses
		case f.Name == fieldRestrict:
			if adID == "" {
				err = errors.New("the AD object is not known")
			}
			doc[f.Name] = restrict(was.RestrictedFields, adID, strings.Fields(f.To))
		default:
			doc[f.Name], err = plainField(f)
		}
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	return doc, nil
}

// plainField is the value of a field that is no list.
func plainField(f Field) (any, error) {
	switch f.Name {
	case "sudo":
		if f.To != "true" && f.To != "false" {
			return nil, errors.New("want true or false")
		}
		return f.To == "true", nil
	case "state":
		if !slices.Contains([]string{StateStaged, StateActivated, StateSuspended}, f.To) {
			return nil, fmt.Errorf("want %s, %s or %s", StateStaged, StateActivated, StateSuspended)
		}
		return f.To, nil
	case "delegatedAuthority":
		if f.To == "" {
			return nil, nil // JSON's null: nobody
		}
		return Authority{Name: nameActiveDirectory, ID: f.To}, nil
	case fieldExternalExpires:
		if _, err := time.Parse(time.RFC3339, f.To); f.To != "" && err != nil {
			return nil, errors.New("want a time as RFC 3339 writes it")
		}
		return f.To, nil
	}
	if !slices.Contains(textFields, f.Name) {
		return nil, errors.New("it is not one that can be written")
	}
	return f.To, nil
}

// setPhone makes number the first of its type. Further ones stay, unless the
// type is emptied.
func setPhone(all []PhoneNumber, kind, number string) []PhoneNumber {
	same := func(p PhoneNumber) bool { return strings.EqualFold(p.Type, kind) }
	switch i := slices.IndexFunc(all, same); {
	case number == "":
		all = slices.DeleteFunc(all, same)
	case i >= 0:
		all[i].Number = number
	default:
		all = append(all, PhoneNumber{Type: kind, Number: number})
	}
	return emptyList(all)
}

// setAddress sets a part of the first work address. One of which nothing is
// left is taken out, and so are others that are empty.
func setAddress(all []Address, part, value string) ([]Address, error) {
	i := slices.IndexFunc(all, isWork)
	if i < 0 {
		i, all = len(all), append(all, Address{Type: typeWork})
	}
	target, ok := map[string]*string{
		"poBox": &all[i].POBox, "extendedAddress": &all[i].ExtendedAddress, "streetAddress": &all[i].StreetAddress, "locality": &all[i].Locality,
		"region": &all[i].Region, "postalCode": &all[i].PostalCode, "country": &all[i].Country,
	}[part]
	if !ok {
		return nil, errors.New("an address has no such part")
	}
	*target = value
	return emptyList(slices.DeleteFunc(all, func(a Address) bool { return a == Address{Type: a.Type} })), nil
}

func isWork(a Address) bool { return strings.EqualFold(a.Type, typeWork) }

// restrict replaces the entries of one AD object; those of other authorities
// stay.
func restrict(all []RestrictedField, adID string, names []string) []RestrictedField {
	var kept []RestrictedField
	for _, r := range all {
		if !r.of(adID) {
			kept = append(kept, r)
		}
	}
	for _, name := range names {
		kept = append(kept, RestrictedField{Field: name, Type: typeActiveDirectory, ID: adID})
	}
	return emptyList(kept)
}

func (r RestrictedField) of(adID string) bool { return r.Type == typeActiveDirectory && r.ID == adID }

// emptyList is what JSON writes as [], not as null.
func emptyList[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}
