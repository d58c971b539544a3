package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written as a whole number and a binary unit.
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var sizeUnits = []struct {
	name string
	size Size
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// UnmarshalText reads a size such as 256KiB. A number without a unit is
// refused, as are the units that half the world reads as powers of ten.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || Size(n) > (1<<63-1)/u.size {
			break
		}
		*s = Size(n) * u.size
		return nil
	}
	return errors.New("not a size")
}

// String writes the size with the largest unit that needs no fraction.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", s/u.size, u.name)
		}
	}
	return "0B"
}

// Prefixes are networks, written with commas between them. It is a string, so
// that configurations can be compared.
type Prefixes string

// UnmarshalText reads networks such as 10.0.0.0/8, and addresses, which stand
// for themselves alone.
func (p *Prefixes) UnmarshalText(text []byte) error {
	var all []string
	if len(text) > 0 {
		for item := range strings.SplitSeq(string(text), ",") {
			prefix, err := parsePrefix(strings.TrimSpace(item))
			if err != nil {
				return err
			}
			all = append(all, prefix.String())
		}
	}
	*p = Prefixes(strings.Join(all, ","))
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return prefix, errors.New("is not a network or an address")
	case prefix.Addr().Is4In6():
		return prefix, errors.New("is an IPv4 network written as IPv6")
	case prefix != prefix.Masked():
		return prefix, fmt.Errorf("has bits behind the prefix: write %v", prefix.Masked())
	}
	return prefix, nil
}

// List gives the networks.
func (p Prefixes) List() []netip.Prefix {
	if p == "" {
		return nil
	}
	var list []netip.Prefix
	for item := range strings.SplitSeq(string(p), ",") {
		list = append(list, netip.MustParsePrefix(item)) // UnmarshalText checked it
	}
	return list
}

// Duration is a time.Duration written with its units, such as 90s or 1h30m.
type Duration time.Duration

// UnmarshalText reads what [time.ParseDuration] reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("not a duration")
	}
	*d = Duration(v)
	return nil
}

// String writes the duration without the zero units at its end: 15m, not
// 15m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
