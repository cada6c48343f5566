package driver

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
)

// maxMessageBytes bounds the message of a status. An orchestrator shows it in an event, which has
// room for a kibibyte, and it travels in a header.
const maxMessageBytes = 2048

// codeOfKind is the one table from the kind of an error to its gRPC code (spec, "Error Scheme").
//
// Unsupported is INVALID_ARGUMENT and not UNIMPLEMENTED: the spec has UNIMPLEMENTED for an RPC that
// the plugin does not have at all, which a caller may conclude never to try again, while here only
// this pool, file system or kernel cannot do what this request asks ("unsupported field", "source
// unsupported"). The sidecars take it as final, so the user learns of it at once.
var codeOfKind = map[volume.Kind]codes.Code{
	volume.Internal:    codes.Internal,
	volume.Invalid:     codes.InvalidArgument,
	volume.NotFound:    codes.NotFound,
	volume.Exists:      codes.AlreadyExists,
	volume.Busy:        codes.Aborted,
	volume.InUse:       codes.FailedPrecondition,
	volume.Full:        codes.ResourceExhausted,
	volume.OutOfRange:  codes.OutOfRange,
	volume.Unsupported: codes.InvalidArgument,
	volume.Unavailable: codes.Unavailable,
}

// answerStatus makes a status of the error of a call. Who gets an error gets nothing else.
func answerStatus(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	if err != nil {
		return nil, statusOf(req, err).Err()
	}
	return resp, nil
}

// statusOf returns the status of a call that ended with err; OK for nil. Its message is one line of
// at most maxMessageBytes, is never empty on an error and has no secret of the request in it. It has
// no details, which the spec forbids.
func statusOf(req any, err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	code, message := codeOf(err)
	message = oneLine(redact(message, req), maxMessageBytes)
	if message == "" {
		message = "failed with " + code.String() + ", and said nothing"
	}
	return status.New(code, message)
}

// codeOf looks for what says the most: a kind, else a status (of an RPC that is not implemented, or
// from another server), else the end of a context.
func codeOf(err error) (codes.Code, string) {
	kind := volume.KindOf(err)
	if code, known := codeOfKind[kind]; known && kind != volume.Internal {
		return code, err.Error()
	}
	var from interface{ GRPCStatus() *status.Status }
	switch {
	case errors.As(err, &from) && from.GRPCStatus().Code() != codes.OK:
		s, _ := status.FromError(err)
		return s.Code(), s.Message()
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded, err.Error()
	case errors.Is(err, context.Canceled):
		return codes.Canceled, err.Error()
	}
	return codes.Internal, err.Error()
}

// oneLine makes text fit for a log line and a header: valid UTF-8 without control characters, and at
// most limit bytes.
func oneLine(text string, limit int) string {
	const cut = "..."
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text))
	if len(text) <= limit {
		return text
	}
	end := limit - len(cut)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + cut
}
