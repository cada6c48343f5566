package lvm

import (
	"regexp"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

// What is written as a tag is a tag to LVM (lvm(8), TAGS), and reads as it was.
func TestIdentityIsATag(t *testing.T) {
	letters := regexp.MustCompile(`^[A-Za-z0-9_+./=!:&#-]+$`)
	for _, node := range []string{"n1", strings.Repeat("N", volume.MaxNodeBytes), "a_b.example-c"} {
		i := identity.New(identity.Place{Pool: "abcdefghij-123456789", Node: node, Kind: identity.LVMThin}, identity.Adopted)
		tag := identityTag(i)
		got, is, err := parseIdentity(tag)
		if len(tag) > 1024 || !letters.MatchString(tag) || err != nil || !is || got != i {
			t.Errorf("%q reads as %v, %t, %v", tag, got, is, err)
		}
		got, is, err = parseIdentity(tag + ":and:more") // of a later release
		if err != nil || !is || got != i {
			t.Errorf("with more behind it: %v, %t, %v", got, is, err)
		}
	}
	if _, is, err := parseIdentity(tagMaking); is || err != nil {
		t.Errorf("another tag: %t, %v", is, err)
	}
	for _, tag := range []string{tagPool + "a", tagPool + "a=", tagPool + "a=1", tagPool + "a=1:id:n1:lvm/thin:made:yesterday", tagPool + "a=1::n1:lvm/thin:made:20260102T030405Z", tagPool + "a=9:id"} {
		if _, is, err := parseIdentity(tag); !is || !volume.Is(err, volume.Unavailable) {
			t.Errorf("%q: %t, %v", tag, is, err)
		}
	}
}
