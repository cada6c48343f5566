package devicemapper

import (
	"testing"
	"unsafe"
)

// The kernel reads a Call by its layout (linux/dm-ioctl.h).
func TestTheAnswerOfACallBeginsBehindTheHeader(t *testing.T) {
	if at := unsafe.Offsetof(Call{}.Answer); at != headerBytes {
		t.Errorf("the answer begins at %d", at)
	}
}
