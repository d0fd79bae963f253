#!/usr/bin/perl
# relay-nats LISTEN TARGET: passes connections of one port of loopback on to another, and loses what it is told to.
# It speaks the client protocol of NATS: a message is lost whole, and the rest of the connection goes on.
#
# Told on its standard input, one a line; PATTERN is held against `SUBJECT PAYLOAD` of what clients publish:
#   answer N PATTERN    the next N such requests pass, their answers are lost
#   request N PATTERN   the next N such requests are lost
#   keep N PATTERN      the next N such requests are kept back; 0: all of them
#   deaf PATTERN        what the server delivers is lost; PATTERN is held against its subject
#   go                  those that were kept pass now, and no more are kept
# Each that was lost or kept is said on standard output: `answer SUBJECT`, `request SUBJECT`, `kept SUBJECT`; then
# `went N`.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;

my ($listen, $target) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $listen, Listen => 64, ReuseAddr => 1)
	or die "cannot listen on port $listen: $!";
my $select = IO::Select->new($listener, \*STDIN);
my (%side, %lost); # socket → its connection and direction; inboxes whose answers are lost
my (@rules, @kept, @deaf);
my $told = '';
$SIG{PIPE} = 'IGNORE';
$| = 1;

sub drop {
	for my $socket (@_) {
		$select->remove($socket);
		delete $side{$socket};
		close $socket;
	}
}

sub pass_on {
	my ($to, $data) = @_;
	while (length $data) {
		my $sent = syswrite $to, $data;
		return unless defined $sent;
		substr $data, 0, $sent, '';
	}
}

# The first whole message of a buffer: its verb, its words, and all of it; nothing when it is not whole yet.
sub message {
	my ($buffer) = @_;
	my $end = index $$buffer, "\r\n";
	return if $end < 0;
	my ($verb, @words) = split ' ', substr $$buffer, 0, $end;
	my $size = $end + 2;
	$size += $words[-1] + 2 if ($verb // '') =~ /^H?(?:PUB|MSG)$/i;
	return if length $$buffer < $size;
	return (uc($verb // ''), \@words, substr $$buffer, 0, $size, '');
}

# What becomes of a request: the rule that says so, or none.
sub rule_of {
	my ($subject, $whole) = @_;
	for my $rule (@rules) {
		next unless $rule->{left} && "$subject $whole" =~ $rule->{pattern};
		$rule->{left}-- if $rule->{left} > 0;
		return $rule->{does};
	}
	return '';
}

sub from_client {
	my ($to, $verb, $words, $whole) = @_;
	if ($verb =~ /PUB/) {
		my $does = rule_of($words->[0], $whole);
		print "$does $words->[0]\n" if $does;
		$lost{$words->[1]} = 1 if $does eq 'answer';
		push @kept, [$to, $whole] if $does eq 'kept';
		return if $does eq 'request' || $does eq 'kept';
	}
	pass_on($to, $whole);
}

sub from_server {
	my ($to, $verb, $words, $whole) = @_;
	return if $verb =~ /MSG/ && (delete $lost{$words->[0]} || grep { $words->[0] =~ $_ } @deaf);
	pass_on($to, $whole);
}

sub told {
	my ($line) = @_;
	if ($line =~ /^(answer|request) (\d+) (.*)$/) {
		push @rules, { does => $1, left => $2, pattern => qr/$3/s };
	} elsif ($line =~ /^keep (\d+) (.*)$/) {
		push @rules, { does => 'kept', left => $1 || -1, pattern => qr/$2/s };
	} elsif ($line =~ /^deaf (.*)$/) {
		push @deaf, qr/$1/s;
	} elsif ($line eq 'go') {
		@rules = grep { $_->{does} ne 'kept' } @rules;
		print 'went ', scalar @kept, "\n";
		pass_on(@$_) for splice @kept;
	} else {
		die "not understood: $line";
	}
}

print "ready\n";
while (1) {
	for my $socket ($select->can_read) {
		if ($socket == $listener) {
			my $in = $listener->accept or next;
			my $out = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$target");
			unless ($out) {
				close $in;
				next;
			}
			$side{$in} = { to => $out, fn => \&from_client, text => '' };
			$side{$out} = { to => $in, fn => \&from_server, text => '' };
			$select->add($in, $out);
			next;
		}
		if ($socket == \*STDIN) {
			my $n = sysread STDIN, $told, 65536, length $told;
			exit 0 unless $n;
			told($1) while $told =~ s/^(.*)\n//;
			next;
		}
		my $side = $side{$socket} or next;
		my $n = sysread $socket, $side->{text}, 65536, length $side->{text};
		unless ($n) {
			drop($socket, $side->{to});
			next;
		}
		while (my ($verb, $words, $whole) = message(\$side->{text})) {
			$side->{fn}->($side->{to}, $verb, $words, $whole);
		}
	}
}
