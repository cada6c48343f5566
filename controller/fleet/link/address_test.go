package link

import (
	"net"
	"testing"
)

func TestAddressesThatOnePersonHasAreCountedTogether(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7:40000":            "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:443": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:444": "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:443":      "2001:db8:1:3::/64",
		"[::ffff:192.0.2.7]:443":     "192.0.2.7",
		"[fe80::1%eth0]:443":         "fe80::/64",
	} {
		address, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := addressOf(address); got != want {
			t.Errorf("%s is counted as %s, not %s", text, got, want)
		}
	}
}
