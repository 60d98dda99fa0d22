# Perl's LWP::UserAgent or HTTP::Tiny; the argument selects the client.
use strict;
use warnings;
use HTTP::Request::Common ();
use HTTP::Tiny;
use LWP::UserAgent;
use MIME::Base64;

$| = 1;
my %tls = (SSL_ca_file => $ENV{CLIENTS_CA});
my $lwp = LWP::UserAgent->new(keep_alive => 1, ssl_opts => \%tls);
my $tiny = HTTP::Tiny->new(verify_SSL => 1, SSL_options => \%tls);

sub ask_lwp {
    my ($method, $url, $fields, $body, $name) = @_;
    my $request = HTTP::Request->new($method, $url, [%$fields], $body);
    my $part = [undef, $name, Content => $body];
    $request = HTTP::Request::Common::POST(
        $url, %$fields, Content_Type => 'form-data', Content => [file => $part],
    ) if defined $name;
    my $answer = $lwp->request($request);
    return ($answer->code, $answer->headers->as_string("\n"), $answer->content);
}

sub ask_tiny {
    my ($method, $url, $fields, $body) = @_;
    my $answer = $tiny->request($method, $url, { headers => $fields, content => $body });
    my $heads = $answer->{headers};
    my $lines = join "\n", map { "$_: $heads->{$_}" } grep { !ref $heads->{$_} } keys %$heads;
    return ($answer->{status}, $lines, $answer->{content});
}

my $ask = $ARGV[0] eq 'LWP' ? \&ask_lwp : \&ask_tiny;
while (<STDIN>) {
    my ($method, $url, $fields, $body, $name) =
        map { $_ eq '-' ? undef : decode_base64($_) } split;
    my %fields = map { split /: /, $_, 2 } split /\n/, $fields;
    my ($status, @texts) = $ask->($method, $url, \%fields, $body, $name);
    print join(' ', $status, map { encode_base64($_, '') || '-' } @texts), "\n";
}
