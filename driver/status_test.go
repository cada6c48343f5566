package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
)

func TestEveryKindHasItsCode(t *testing.T) {
	want := map[volume.Kind]codes.Code{
		volume.Internal: codes.Internal, volume.Invalid: codes.InvalidArgument, volume.NotFound: codes.NotFound,
		volume.Exists: codes.AlreadyExists, volume.Busy: codes.Aborted, volume.InUse: codes.FailedPrecondition,
		volume.Full: codes.ResourceExhausted, volume.OutOfRange: codes.OutOfRange, volume.Unsupported: codes.InvalidArgument,
		volume.Unavailable: codes.Unavailable,
	}
	for kind := volume.Kind(0); !strings.HasPrefix(kind.String(), "Kind("); kind++ { // each one that has a name
		if _, known := want[kind]; !known {
			t.Errorf("the kind %s is new and not in this table", kind)
		}
		s := statusOf(nil, fmt.Errorf("outside: %w", volume.Errorf(kind, "volume %q", "v")))
		if s.Code() != want[kind] || s.Message() != `outside: volume "v"` {
			t.Errorf("%s is %s: %q, want %s", kind, s.Code(), s.Message(), want[kind])
		}
	}
}

func TestErrorsWithoutAKind(t *testing.T) {
	detailed, err := status.New(codes.OutOfRange, "with details").WithDetails(&errdetails.ErrorInfo{Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err     error
		code    codes.Code
		message string
	}{
		{errors.New("odd"), codes.Internal, "odd"},
		{volume.Errorf(volume.Kind(99), "odd"), codes.Internal, "odd"},
		{context.Canceled, codes.Canceled, "context canceled"},
		{fmt.Errorf("mkfs: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "mkfs: context deadline exceeded"},
		{volume.Errorf(volume.Internal, "mkfs: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "mkfs: context deadline exceeded"},
		{volume.Errorf(volume.Busy, "waiting: %w", context.Canceled), codes.Aborted, "waiting: context canceled"},
		{status.Error(codes.Unimplemented, "method X not implemented"), codes.Unimplemented, "method X not implemented"},
		{volume.Errorf(volume.Full, "n2: %w", status.Error(codes.Internal, "x")), codes.ResourceExhausted, "n2: rpc error: code = Internal desc = x"},
		{detailed.Err(), codes.OutOfRange, "with details"},
		{errors.New(""), codes.Internal, "failed with Internal, and said nothing"},
		{volume.Errorf(volume.NotFound, "%s", " \n\t "), codes.NotFound, "failed with NotFound, and said nothing"},
		{errors.New("two\nlines\x00 and \xff\xfe bytes"), codes.Internal, "two lines  and \uFFFD bytes"},
	} {
		s := statusOf(nil, c.err)
		if s.Code() != c.code || s.Message() != c.message || len(s.Details()) != 0 {
			t.Errorf("%v is %s %q %v, want %s %q", c.err, s.Code(), s.Message(), s.Details(), c.code, c.message)
		}
	}
	if s := statusOf(nil, nil); s.Code() != codes.OK {
		t.Errorf("no error is %s", s.Code())
	}
}

func TestMessagesAreBounded(t *testing.T) {
	for _, unit := range []string{"a", "ä", "世", "\xff", "a\n"} {
		message := statusOf(nil, errors.New(strings.Repeat(unit, 100_000))).Message()
		if len(message) > maxMessageBytes || len(message) < maxMessageBytes-8 && unit != "\xff" || !utf8.ValidString(message) {
			t.Errorf("%q 100000 times makes %d bytes, valid: %t", unit, len(message), utf8.ValidString(message))
		}
	}
}

func TestWhoGetsAnErrorGetsNothingElse(t *testing.T) {
	resp, err := answerStatus(t.Context(), nil, info("DeleteVolume"), func(context.Context, any) (any, error) {
		return &csi.DeleteVolumeResponse{}, volume.Errorf(volume.InUse, "attached")
	})
	if resp != nil || status.Code(err) != codes.FailedPrecondition {
		t.Errorf("answer %v, %v", resp, err)
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\nb", 5)
	f.Add("\xffä世", 4)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < 3 || limit > 1<<16 {
			return
		}
		line := oneLine(text, limit)
		if len(line) > limit || !utf8.ValidString(line) || strings.ContainsAny(line, "\n\r\x00\x1b") {
			t.Fatalf("oneLine(%q, %d) = %q", text, limit, line)
		}
	})
}
